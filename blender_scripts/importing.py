"""Reading FBX and glTF with Blender, for the scripts beside this file.

Works inside ``blender -b -P script -- …`` (2.82 and newer) and as ``python script -- …`` with the bpy wheel. Only what
Blender's own Python has is used: NumPy, and those modules of this project that need nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from data.formats.character_files import GLTF_FPS, GLTF_SUFFIXES, SUFFIXES, check_kind, frame_count, up_to_date  # noqa: E402
from data.formats.gltf import read_gltf  # noqa: E402
from data.formats.skeleton import ORDER, Skeleton, Skin, as_bvh, merged, nearest_rotations, unique_names, welded  # noqa: E402
from utils.errors import InputError, spoken  # noqa: E402

try:
    # isort: off
    import bpy
    import addon_utils  # the wheel has these only once bpy is there
    import bmesh

    # isort: on
    from mathutils import Euler, Matrix, Quaternion, Vector
except ImportError:
    bpy = None

_TO_CHARACTER = 100.0 * np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 0.01]])
"""Blender's world (metres, z up, facing −y) → the character's frame (centimetres, y up, facing +z)."""

FEW_KEYS = 20000
"""Frames that an animation may have however few keys it has; one damaged time would otherwise take minutes."""


@dataclass
class Clip:
    """One animation of the armature."""

    name: str
    action: object
    slot: object
    first: float
    last: float
    """Frame numbers of the first and the last key, in the scene's frame rate."""
    keys: int
    """Keys of the curve that has most."""


def guarded(main) -> None:
    """Run `main` and end the process: 0, or 2 with one line on stderr if the input is wrong."""
    try:
        main()
    except (InputError, OSError) as error:
        sys.stdout.flush()
        print(f"error: {spoken(error)}", file=sys.stderr)
        finish(2)
    finish(0)


def finish(code: int) -> None:
    """End the process. The bpy wheel may crash while Python takes it apart, so that is not waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    if bpy is not None and not _inside_blender():
        folder = Path(bpy.app.tempdir or ".")
        if folder.name.startswith("blender_"):
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(code)
    sys.exit(code)


def arguments() -> list:
    """The command line of the script: what stands after ``--``."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else ([] if _inside_blender() else sys.argv[1:])


def files_of(source: Path, target: Path, suffix: str) -> list:
    """(input, output) pairs: the two as they are, or for a folder every file in it that can be imported.

    Raises:
        InputError: the input does not exist, holds nothing to convert, or the output does not fit to it.
    """
    if not source.is_dir():
        check_kind(source)
        return [(source, target / (source.stem + suffix) if target.is_dir() else target)]
    if target.is_file():
        raise InputError(f"{target}: expected a folder for what is made of the folder {source}, found a file")
    files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"{source}: expected files {' '.join(SUFFIXES)} in this folder, found none")
    stems = [path.stem for path in files]
    return [(p, target / ((p.stem if stems.count(p.stem) == 1 else p.name.replace(".", "_")) + suffix)) for p in files]


def convert_all(pairs: list, convert, force: bool) -> None:
    """Run `convert(input, output) → text` for each pair; of several, one that fails does not stop the others.

    Raises:
        InputError: the only one failed, or some did, after the others were made.
    """
    skipped = []
    for number, (source, target) in enumerate(pairs, start=1):
        say = f"[{number}/{len(pairs)}] {source.name}: "
        if not force and len(pairs) > 1 and up_to_date(source, target):
            print(say + "up to date", flush=True)
            continue
        try:
            print(say + convert(source, target), flush=True)
        except InputError as error:
            if len(pairs) == 1:
                raise
            skipped.append(spoken(error))
            print(say + "skipped", flush=True)
    if skipped:
        print("skipped:\n  " + "\n  ".join(skipped), flush=True)
        raise InputError(f"{len(skipped)} of {len(pairs)} files were skipped; the reasons are above")


def _inside_blender() -> bool:
    return bpy is not None and not getattr(bpy.app, "module", False) and bool(bpy.app.binary_path)


class Scene:
    """One file, imported into an empty scene, with the face of `data.formats.character_files.Source`."""

    def __init__(self, path, armature=None):
        """Import a file.

        Args:
            path: .fbx, .gltf, .glb or .vrm.
            armature: which armature to take where there are several; None: the one with skin.

        Raises:
            InputError: the file cannot be imported or has no armature, or several and none is named.
        """
        self.path = Path(path)
        check_kind(self.path)
        self.is_gltf = self.path.suffix.lower() in GLTF_SUFFIXES
        self.notes = []
        _import(self.path)
        self.object = self._choose(armature)
        self.file_fps = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
        self.own_fps = GLTF_FPS if self.is_gltf else self.file_fps
        self._bases = [bone.matrix_basis.copy() for bone in self.object.pose.bones]
        self._clips = self._find_clips()
        self.clips = unique_names([clip.name for clip in self._clips])
        self._rest()
        self.skeleton = self._read_skeleton()
        self.skin = self._read_skin()

    # ------------------------------------------------------------------------------------------------
    # Skeleton
    # ------------------------------------------------------------------------------------------------

    def _choose(self, wanted):
        found = [thing for thing in bpy.data.objects if thing.type == "ARMATURE" and len(thing.data.bones)]
        if not found:
            raise InputError(f"{self.path}: expected an armature, found none; export the skeleton too")
        skinned = {_armature_of(mesh) for mesh in _meshes()} - {None}
        if wanted is not None:
            fitting = [
                thing for thing in found if wanted in [thing.name, *(b.name for b in thing.data.bones if not b.parent)]
            ]
        else:
            fitting = [thing for thing in found if thing in skinned]
            fitting = fitting or [thing for thing in found if thing.animation_data] or found
        if len(fitting) != 1:
            names = ", ".join(thing.name for thing in found)
            wish = "one armature" if wanted is None else f"one armature named {wanted}"
            raise InputError(
                f"{self.path}: expected {wish}, found {len(fitting)} of {len(found)}: {names[:300]}; "
                f"name it with --armature"
            )
        if len(found) > 1:
            self.notes.append(f"took one of {len(found)} armatures: {fitting[0].name}")
        return fitting[0]

    def _rest(self) -> None:
        """Put everything where it stands without animation, the armatures into their rest pose."""
        bases = {thing: thing.matrix_basis.copy() for thing in bpy.data.objects}
        for thing, basis in bases.items():
            if thing.animation_data:
                thing.animation_data_clear()
            thing.matrix_basis = basis
            if thing.type == "ARMATURE":
                thing.data.pose_position = "REST"
        bpy.context.view_layer.update()

    def _read_skeleton(self) -> Skeleton:
        bones = list(self.object.data.bones)
        order = []
        waiting = [bone for bone in bones if bone.parent is None][::-1]
        while waiting:
            order.append(waiting.pop())
            waiting += list(order[-1].children)[::-1]
        self.bone_names = [bone.name for bone in order]
        place = {name: number for number, name in enumerate(self.bone_names)}
        parents = [-1 if bone.parent is None else place[bone.parent.name] for bone in order]
        self._to_character = _snapped(_TO_CHARACTER @ _array(self.object.matrix_world))
        if self.is_gltf:
            self._to_character = self._stand(order[0])
        rest = self._to_character @ np.array([_array(bone.matrix_local) for bone in order])
        return Skeleton.of_rest(unique_names(self.bone_names), np.array(parents, np.int64), rest)

    def _stand(self, root) -> np.ndarray:
        """Armature space → character, so that the topmost bone rests where its node stands in the file.

        The importer puts bones where the inverse bind matrices say, whatever stands above them, and leaves the objects
        above them in the first frame of an animation.
        """
        gltf = read_gltf(self.path)
        names = list(gltf.node_names)
        if names.count(root.name) != 1 or root.parent is not None:
            return self._to_character
        node, world = names.index(root.name), Matrix.Identity(4)
        while node >= 0:
            world = _node_matrix(gltf, node) @ world
            node = int(gltf.parents[node])
        stands = _array(world)
        stands[:3, :3] = nearest_rotations(stands[:3, :3])
        stands[:3] *= 100.0
        return _snapped(stands @ np.linalg.inv(_array(root.matrix_local)))

    # ------------------------------------------------------------------------------------------------
    # Skin
    # ------------------------------------------------------------------------------------------------

    def _read_skin(self):
        """All meshes that the armature moves as one skin; None if there are none."""
        parts, left_out = [], []
        for mesh in _meshes():
            if _armature_of(mesh) is self.object:
                parts.append(self._mesh(mesh))
            elif mesh.parent is self.object and mesh.parent_type == "BONE" and mesh.parent_bone in self.bone_names:
                parts.append(self._mesh(mesh, self.bone_names.index(mesh.parent_bone)))
            else:
                left_out.append(mesh.name)
        if left_out:
            self.notes.append(f"{len(left_out)} meshes that no bone moves were left out")
        if not parts:
            return None
        skin = merged(parts, len(self.bone_names))
        return welded(skin) if self.is_gltf else skin

    def _mesh(self, thing, rigid=None) -> Skin:
        """One mesh object; `rigid`: the number of the bone that it hangs on as a whole."""
        mesh = thing.data
        shape = bmesh.new()  # it cuts polygons along the diagonal that suits their shape; the loop triangles do not
        shape.from_mesh(mesh)
        bmesh.ops.triangulate(shape, faces=shape.faces[:])
        shape.to_mesh(mesh)
        shape.free()
        mesh.calc_loop_triangles()
        vertices = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", vertices)
        faces = np.empty(3 * len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces)
        in_armature = np.linalg.inv(_array(self.object.matrix_world)) @ _array(thing.matrix_world)
        to_character = _snapped(self._to_character @ in_armature)
        weights = np.zeros((len(mesh.vertices), len(self.bone_names)), np.float32)
        if rigid is not None:
            weights[:, rigid] = 1
        else:
            place = {name: number for number, name in enumerate(self.bone_names)}
            bones = [place.get(group.name, -1) for group in thing.vertex_groups]
            for vertex in mesh.vertices:
                for group in vertex.groups:
                    if 0 <= group.group < len(bones) and bones[group.group] >= 0:
                        weights[vertex.index, bones[group.group]] += group.weight
        points = vertices.reshape(-1, 3).astype(np.float64) @ to_character[:3, :3].T + to_character[:3, 3]
        return Skin(points, faces.reshape(-1, 3).astype(np.int64), weights)

    # ------------------------------------------------------------------------------------------------
    # Motion
    # ------------------------------------------------------------------------------------------------

    def _find_clips(self) -> list:
        bones = {bone.name for bone in self.object.data.bones}
        clips, seen = [], set()
        for action in bpy.data.actions:
            for slot, curves in _curves(action):
                moved = {bone_of(curve.data_path) for curve in curves if len(curve.keyframe_points)} - {None}
                if not moved or len(moved & bones) * 2 < len(moved) or not self._own(action, slot):
                    continue
                name = self._clip_name(action)
                if name in seen and not self.is_gltf:
                    self.notes.append(f"animation {name} has several layers; the first one was taken")
                    continue
                seen.add(name)
                first, last = _ends(curves)
                most = max(len(curve.keyframe_points) for curve in curves)
                clips.append(Clip(name, action, slot, first, last, most))
        return clips

    def _own(self, action, slot) -> bool:
        """False where the action of an FBX file names another object."""
        others = [thing.name for thing in bpy.data.objects if thing.type == "ARMATURE" and thing is not self.object]
        if any(action.name.startswith(name + "|") for name in others):
            return False
        return slot is None or self.is_gltf or slot.name_display not in others

    def _clip_name(self, action) -> str:
        """The animation's own name: ``Armature|mixamo.com|Layer0`` in FBX, ``wave_Armature`` in glTF (older versions).

        Blender's own FBX files call the animation ``Armature|wave`` itself.
        """
        name, own = action.name, self.object.name
        if self.is_gltf:
            return name[: -len(own) - 1] if name.endswith("_" + own) else name
        parts = name.split("|")
        while len(parts) > 1 and parts[0] == own:
            parts = parts[1:]
        return parts[0]

    def motion(self, number: int, fps=None):
        """The motion number `number` as `data.formats.bvh.Bvh`; `fps`: frames a second, None: the file's own rate.

        Raises:
            InputError: it is too long, or a pose is not finite.
        """
        clip, scene, fps = self._clips[number], bpy.context.scene, fps or self.own_fps
        seconds = (clip.last - clip.first) / self.file_fps
        n_frames = frame_count(seconds, fps, len(self.bone_names), clip.name)
        if n_frames > FEW_KEYS + 100 * clip.keys:
            raise InputError(
                f"{self.path}: animation {clip.name}: expected some hundred frames for {clip.keys} keys, found "
                f"{n_frames}; a key's time is probably damaged: give a lower --fps or export it again"
            )
        self._without_meshes()
        self._assign(clip)
        angles = np.empty((n_frames, len(self.bone_names), 3))
        positions = np.empty((n_frames, len(self.bone_names), 3))
        poser = _Poser(self.object, self.bone_names, self._to_character)
        for frame in range(n_frames):
            time = clip.first + frame * self.file_fps / fps
            whole = int(np.floor(time + 1e-6))
            scene.frame_set(whole, subframe=float(min(max(time - whole, 0.0), 0.999999)))
            poser.read(angles[frame], positions[frame])
        return as_bvh(self.skeleton, np.degrees(angles), positions, 1.0 / fps, self.skin)

    def placed(self, number: int):
        """Where the bones are in every frame of a motion: centimetres (F, J, 3) and turns since rest (F, J, 3, 3), in
        the character's frame."""
        clip, scene = self._clips[number], bpy.context.scene
        first = int(round(clip.first))
        frames = int(round(clip.last)) - first + 1
        self._without_meshes()
        self._assign(clip)
        bones = [self.object.pose.bones[name] for name in self.bone_names]
        posed = np.empty((frames, len(bones), 4, 4))
        for frame in range(frames):
            scene.frame_set(first + frame)
            world = _TO_CHARACTER @ _array(self.object.matrix_world)
            posed[frame] = world @ np.array([_array(bone.matrix) for bone in bones])
        back = np.linalg.inv(self.skeleton.rest[:, :3, :3])
        return posed[..., :3, 3], nearest_rotations(posed[..., :3, :3] @ back)

    def clip(self, number: int):
        """An animation of the file, assigned to the armature."""
        self._assign(self._clips[number])
        return self._clips[number]

    def _without_meshes(self) -> None:
        """Frames are set several times faster when no skin follows."""
        for mesh in _meshes():
            bpy.data.objects.remove(mesh, do_unlink=True)

    def _assign(self, clip: Clip) -> None:
        self.object.data.pose_position = "POSE"
        for bone, basis in zip(self.object.pose.bones, self._bases):  # noqa: B905
            bone.matrix_basis = basis
        animation = self.object.animation_data or self.object.animation_data_create()
        animation.action = clip.action
        if clip.slot is not None:
            animation.action_slot = clip.slot


class _Poser:
    """Reads the pose of the current frame as Euler angles.

    In the armature's own space a bone's local rotation is F = R_p P_p⁻¹ P R⁻¹ (R rest, P pose, p its parent). This is
    computed in Blender's own single precision and order, so that the digits are those of its BVH exporter.
    """

    def __init__(self, thing, names, to_character):
        self.object = thing
        self.bones = [thing.pose.bones[name] for name in names]
        place = {name: number for number, name in enumerate(names)}
        self.parents = [-1 if bone.parent is None else place[bone.parent.name] for bone in self.bones]
        self.rest = [bone.bone.matrix_local.copy() for bone in self.bones]
        self.inverse = [_inverse(matrix) for matrix in self.rest]
        turn = nearest_rotations(to_character[:3, :3])
        self.turn = None if (turn == np.eye(3)).all() else Matrix(turn.tolist()).to_4x4()
        self.from_character = np.linalg.inv(to_character)
        self.before = [Euler((0.0, 0.0, 0.0), ORDER[::-1]) for _ in self.bones]

    def read(self, angles: np.ndarray, positions: np.ndarray) -> None:
        """Fill (J, 3) angles in radians, in the order `ORDER`, and (J, 3) positions of the roots in centimetres."""
        pose = [bone.matrix.copy() for bone in self.bones]
        for bone, parent in enumerate(self.parents):
            if parent >= 0:
                local = self.rest[parent] @ _inverse(pose[parent]) @ pose[bone] @ self.inverse[bone]
                if self.turn is not None:
                    local = self.turn @ local.to_3x3().to_4x4() @ self.turn.transposed()
            else:  # the armature as a whole may move too
                moved = _snapped(_TO_CHARACTER @ _array(self.object.matrix_world)) @ _array(pose[bone])
                positions[bone] = moved[:3, 3]
                local = Matrix((moved @ _array(self.inverse[bone]) @ self.from_character).tolist())
            euler = local.to_euler(ORDER[::-1], self.before[bone])  # Blender names orders from the right
            self.before[bone] = euler
            angles[bone] = euler[:]


def _inverse(matrix):
    """The inverse; for a bone scaled to nothing, the identity."""
    try:
        return matrix.inverted()
    except ValueError:
        return Matrix.Identity(4)


def _node_matrix(gltf, node: int):
    """The local transform of a glTF node."""
    if node in gltf.matrices:
        return Matrix(gltf.matrices[node].tolist())
    x, y, z, w = gltf.rotations[node].tolist()
    turn = Quaternion((w, x, y, z)).to_matrix().to_4x4()
    size = Matrix.Diagonal(Vector((*gltf.scales[node].tolist(), 1.0)))
    return Matrix.Translation(gltf.translations[node].tolist()) @ turn @ size


def _snapped(matrix: np.ndarray) -> np.ndarray:
    """A transform whose axes are the frame's up to rounding, exactly so: what the file holds keeps its numbers."""
    near = np.rint(matrix[:3, :3])
    if np.abs(matrix[:3, :3] - near).max() < 1e-5 and abs(abs(np.linalg.det(near)) - 1) < 1e-9:
        matrix = matrix.copy()
        matrix[:3, :3] = near
    return matrix


# ----------------------------------------------------------------------------------------------------
# Importing
# ----------------------------------------------------------------------------------------------------


def _import(path: Path) -> None:
    if bpy is None:
        raise InputError("expected Blender; run with `blender -b -P …` or in a Python with the bpy wheel")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    is_fbx = path.suffix.lower() == ".fbx"
    _enable("io_scene_fbx" if is_fbx else "io_scene_gltf2")
    with _quiet() as said:
        try:
            if is_fbx:
                bpy.ops.import_scene.fbx(filepath=str(path), use_image_search=False)
            else:
                bpy.context.scene.render.fps = int(GLTF_FPS)
                bpy.ops.import_scene.gltf(**_gltf_options(path))
        except Exception as error:  # whatever an importer written in Python stumbles over
            lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Location:" not in line]
            raise InputError(
                f"{path}: expected a file that Blender {bpy.app.version_string} can import, but its importer fails "
                f"({(lines or [type(error).__name__])[-1][:160]}); export it again"
            ) from None
    del said


def _gltf_options(path: Path) -> dict:
    """Bones keep the axes of their nodes, where the importer lets us say so."""
    options = {"filepath": str(path)}
    known = bpy.ops.import_scene.gltf.get_rna_type().properties
    if "bone_heuristic" in known and "BLENDER" in known["bone_heuristic"].enum_items:
        options["bone_heuristic"] = "BLENDER"
    if "disable_bone_shape" in known:
        options["disable_bone_shape"] = True
    return options


def _enable(addon: str) -> None:
    if not addon_utils.check(addon)[1]:
        addon_utils.enable(addon)


@contextlib.contextmanager
def _quiet():
    """Keep what importers print (by the thousand) off the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as sink:
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield sink
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in enumerate(kept, start=1):
                os.dup2(old, number)
                os.close(old)


def _meshes() -> list:
    return [thing for thing in bpy.data.objects if thing.type == "MESH"]


def _armature_of(mesh):
    """The armature that bends a mesh, or None."""
    for modifier in mesh.modifiers:
        if modifier.type == "ARMATURE" and modifier.object is not None:
            return modifier.object
    parent = mesh.parent
    return parent if parent is not None and parent.type == "ARMATURE" and mesh.parent_type == "ARMATURE" else None


def _array(matrix) -> np.ndarray:
    return np.array([tuple(row) for row in matrix], dtype=np.float64)


def _curves(action):
    """(slot, F-curves) of an action; before Blender 4.4 there is one set and no slot."""
    if not hasattr(action, "slots"):
        return [(None, list(action.fcurves))]
    result = []
    for slot in action.slots:
        curves = []
        for layer in action.layers:
            for strip in layer.strips:
                bag = strip.channelbag(slot)
                curves += list(bag.fcurves) if bag is not None else []
        result.append((slot, curves))
    return result


def bone_of(data_path: str):
    """``pose.bones["Hips"].location`` → ``Hips``."""
    start = 'pose.bones["'
    if not data_path.startswith(start):
        return None
    return data_path[len(start) : data_path.rfind('"]')].replace('\\"', '"').replace("\\\\", "\\")


def _ends(curves):
    """First and last key of all curves that have keys, in frames."""
    keyed = [curve.keyframe_points for curve in curves if len(curve.keyframe_points)]
    return min(points[0].co[0] for points in keyed), max(points[-1].co[0] for points in keyed)
