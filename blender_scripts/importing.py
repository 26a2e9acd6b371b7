"""Reading FBX and glTF with Blender, for the scripts beside this file.

Works inside ``blender -b -P script -- …`` (2.82 and newer) and as ``python script -- …`` with the bpy wheel. Only what
Blender's own Python has is used: NumPy, and those modules of this project that need nothing else.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from data.armature import Armature, Skin, merged, motion, unique_names, welded  # noqa: E402
from utils.errors import InputError  # noqa: E402

try:
    import bpy
except ImportError:
    bpy = None

GLTF_SUFFIXES = (".gltf", ".glb", ".vrm")
SUFFIXES = (".fbx",) + GLTF_SUFFIXES
GLTF_FPS = 60.0
"""glTF holds seconds, not frames: its motions are sampled this often where no rate is asked for."""
MAX_POSES = 4000000
"""Frames times bones that a motion may have."""
_TO_CHARACTER = 100.0 * np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 0.01]])
"""Blender's world (metres, z up, facing −y) → the character's frame (centimetres, y up, facing +z)."""


@dataclass
class Clip:
    """One animation of the armature."""

    name: str
    action: object
    slot: object
    first: float
    last: float
    """Frame numbers of the first and the last key, in the scene's frame rate."""


def guarded(main) -> None:
    """Run `main` and end the process: 0, or 2 with one line on stderr if the input is wrong."""
    try:
        main()
    except (InputError, OSError) as error:
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        sys.stderr.flush()
        sys.exit(2)


def arguments() -> list:
    """The command line of the script: what stands after ``--``."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else ([] if _inside_blender() else sys.argv[1:])


def _inside_blender() -> bool:
    return bpy is not None and bool(bpy.app.binary_path)


class Scene:
    """One file, imported into an empty scene: `Scene(path)`; then `armature`, `skin`, `clips`, `motion`."""

    def __init__(self, path, armature=None, fps=None):
        """Import a file.

        Args:
            path: .fbx, .gltf, .glb or .vrm.
            armature: which armature to take where there are several; None: the one with skin.
            fps: frames a second of the motions; None: the rate of an FBX file, 60 for glTF.

        Raises:
            InputError: the file cannot be imported or has no armature, or several and none is named.
        """
        self.path = Path(path)
        check_kind(self.path)
        if fps is not None and not 0 < fps <= 1000:
            raise InputError(f"--fps: expected a number of frames a second from 0 to 1000, found {fps}")
        self.is_gltf = self.path.suffix.lower() in GLTF_SUFFIXES
        self.notes = []
        _import(self.path)
        self.object = self._choose(armature)
        self.file_fps = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
        self.fps = float(fps or (GLTF_FPS if self.is_gltf else self.file_fps))
        self._bases = [bone.matrix_basis.copy() for bone in self.object.pose.bones]
        self.clips = self._find_clips()
        self._rest()
        self.armature = self._read_armature()
        self.skin = self._read_skin()

    # ------------------------------------------------------------------------------------------------
    # Armature
    # ------------------------------------------------------------------------------------------------

    def _choose(self, wanted):
        found = [thing for thing in bpy.data.objects if thing.type == "ARMATURE" and len(thing.data.bones)]
        if not found:
            raise InputError(f"{self.path}: expected an armature, found none; export the skeleton too")
        skinned = {_armature_of(mesh) for mesh in _meshes()} - {None}
        if wanted is not None:
            fitting = [thing for thing in found if wanted in [thing.name, *(b.name for b in thing.data.bones if not b.parent)]]
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

    def _read_armature(self) -> Armature:
        bones = list(self.object.data.bones)
        order = []
        waiting = [bone for bone in bones if bone.parent is None][::-1]
        while waiting:
            order.append(waiting.pop())
            waiting += list(order[-1].children)[::-1]
        self.bone_names = [bone.name for bone in order]
        place = {name: number for number, name in enumerate(self.bone_names)}
        parents = [-1 if bone.parent is None else place[bone.parent.name] for bone in order]
        rest = _TO_CHARACTER @ _array(self.object.matrix_world) @ np.array([_array(b.matrix_local) for b in order])
        return Armature(unique_names(self.bone_names), np.array(parents, np.int64), rest)

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
        mesh.calc_loop_triangles()
        vertices = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", vertices)
        faces = np.empty(3 * len(mesh.loop_triangles), np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces)
        to_character = _TO_CHARACTER @ _array(thing.matrix_world)
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
        bones = set(bone.name for bone in self.object.data.bones)
        clips, seen = [], set()
        for action in bpy.data.actions:
            for slot, curves in _curves(action):
                moved = {_bone_of(curve.data_path) for curve in curves if len(curve.keyframe_points)} - {None}
                if not moved or len(moved & bones) * 2 < len(moved) or not self._own(action, slot):
                    continue
                name = self._clip_name(action)
                if name in seen and not self.is_gltf:
                    self.notes.append(f"animation {name} has several layers; the first one was taken")
                    continue
                seen.add(name)
                first, last = _ends(curves)
                clips.append(Clip(name, action, slot, first, last))
        return clips

    def _own(self, action, slot) -> bool:
        """False where the action of an FBX file names another object."""
        others = [thing.name for thing in bpy.data.objects if thing.type == "ARMATURE" and thing is not self.object]
        if any(action.name.startswith(name + "|") for name in others):
            return False
        return slot is None or self.is_gltf or slot.name_display not in others

    def _clip_name(self, action) -> str:
        """FBX: ``Armature|mixamo.com|Layer0`` is ``mixamo.com``; glTF: older versions append the armature's name."""
        parts = action.name.split("|")
        if not self.is_gltf and len(parts) >= 2:
            return parts[1] or parts[-1]
        tail = "_" + self.object.name
        return action.name[: -len(tail)] if action.name.endswith(tail) else action.name

    def motion(self, clip: Clip):
        """The motion as `data.bvh.Bvh`.

        Raises:
            InputError: it is too long, or a pose is not finite.
        """
        scene = bpy.context.scene
        seconds = (clip.last - clip.first) / self.file_fps
        if not seconds * self.fps * len(self.bone_names) < MAX_POSES:
            raise InputError(
                f"{self.path}: animation {clip.name}: expected at most {MAX_POSES // len(self.bone_names)} frames, "
                f"found {seconds * self.fps:.0f}; give a lower --fps or cut it"
            )
        n_frames = int(seconds * self.fps + 1e-4) + 1
        self._without_meshes()
        self._assign(clip)
        step = self.file_fps / self.fps

        def pose(first: int, last: int) -> np.ndarray:
            result = np.empty((last - first, len(self.bone_names), 4, 4))
            bones = [self.object.pose.bones[name] for name in self.bone_names]
            for frame in range(first, last):
                time = clip.first + frame * step
                whole = int(np.floor(time + 1e-6))
                scene.frame_set(whole, subframe=float(min(max(time - whole, 0.0), 0.999999)))
                world = _TO_CHARACTER @ _array(self.object.matrix_world)
                result[frame - first] = world @ np.array([_array(bone.matrix) for bone in bones])
            return result

        return motion(self.armature, pose, n_frames, 1.0 / self.fps, self.skin)

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


# ----------------------------------------------------------------------------------------------------
# Importing
# ----------------------------------------------------------------------------------------------------


def check_kind(path: Path) -> None:
    """Refuse what Blender's importers cannot read, in one clear sentence.

    Raises:
        InputError: no file, an unknown suffix, or an FBX file that is not binary.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}; check the path")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected .fbx, .gltf, .glb or .vrm, found {path.suffix or 'no suffix'}")
    if path.suffix.lower() == ".fbx":
        with path.open("rb") as stream:
            head = stream.read(64)
        if not head.startswith(b"Kaydara FBX Binary"):
            text = head.lstrip().startswith(b";") or b"FBX" in head
            found = "an ASCII FBX file, which Blender cannot import" if text else "something else"
            raise InputError(f"{path}: expected a binary FBX file, found {found}; export it as binary FBX")


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
    import addon_utils

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


def _bone_of(data_path: str):
    """``pose.bones["Hips"].location`` → ``Hips``."""
    start = 'pose.bones["'
    if not data_path.startswith(start):
        return None
    return data_path[len(start) : data_path.rfind('"]')].replace('\\"', '"').replace("\\\\", "\\")


def _ends(curves):
    """First and last key of all curves that have keys, in frames."""
    keyed = [curve.keyframe_points for curve in curves if len(curve.keyframe_points)]
    return min(points[0].co[0] for points in keyed), max(points[-1].co[0] for points in keyed)
