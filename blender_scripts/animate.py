"""Puts a motion on a character and writes it as FBX, with Blender.

    blender -b -P blender_scripts/animate.py -- --character XBot.fbx --motion motion.npz --output_fbx danced.fbx

The motion holds ``names`` (J) of bones, ``rotations`` (F, J, 4) quaternions (w, x, y, z) relative to the parent and
the rest pose in the character's frame (as in BVH), ``moves`` (F, J, 3) centimetres from the rest place, seen as the
rotations are, ``fps``, and ``kept``: the number of the character's animation in which only these bones are keyed anew,
−1 for an animation of its own. Meshes, materials and bones of the character are exported as they were imported.
With ``--output_places`` in place of motion and output, a file's places (F, J, 3) and turns (F, J, 3, 3) since the rest
pose are written, centimetres in the character's frame: what a file is checked by.
Used by `python -m run.retarget`; started through `data.blender`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from importing import InputError, Scene, arguments, bone_of, bpy, finish, guarded  # noqa: E402
from importing import _quiet as quiet  # noqa: E402

from data.formats.skeleton import nearest_rotations  # noqa: E402

_STILL = 1e-6


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(prog="animate.py --", description=__doc__)
    parser.add_argument("--character", type=Path, required=True, help=".fbx, .gltf, .glb or .vrm")
    parser.add_argument("--motion", type=Path, help=".npz, see above")
    parser.add_argument("--output_fbx", type=Path)
    parser.add_argument("--output_places", type=Path, help=".npz, see above")
    parser.add_argument("--name", default="retargeted", help="name of the animation")
    options = parser.parse_args(arguments())
    scene = Scene(options.character)
    if options.output_places is not None:
        names = list(scene.skeleton.names)
        places, turns = scene.placed(0)
        np.savez(str(options.output_places), names=np.array(names), places=places, turns=turns)
        finish(0)
    with np.load(str(options.motion), allow_pickle=False) as file:
        motion = dict(file)
    _animate(scene, motion, options.name)
    _export(options.output_fbx)
    print("written", flush=True)
    finish(0)


def _animate(scene: Scene, motion: dict, name: str) -> None:
    """Key every bone of the motion in every frame, in an action of its own or one that is kept; others are removed."""
    thing = scene.object
    places = {bone: number for number, bone in enumerate(motion["names"].tolist())}
    given_names = dict(zip(scene.bone_names, scene.skeleton.names))  # noqa: B905
    to_character = nearest_rotations(scene._to_character[:3, :3])
    size = np.cbrt(abs(np.linalg.det(scene._to_character[:3, :3])))  # centimetres in one unit of the armature
    for armature in bpy.data.armatures:
        armature.pose_position = "POSE"
    kept = scene.clip(int(motion["kept"])) if motion["kept"] >= 0 else None
    for action in list(bpy.data.actions):
        if kept is None or action != kept.action:
            bpy.data.actions.remove(action)
    if kept is None:
        thing.animation_data_create()
        action = bpy.data.actions.new(name[:60])
        thing.animation_data.action = action
        curves = _new_curve(action, thing)
    else:
        curves = _cleared(kept, {bone for bone, given in given_names.items() if given in places})
        kept.action.name = name[:60]
    frames, first = len(motion["rotations"]), 0 if kept is None else int(round(kept.first))
    for bone in thing.pose.bones:
        given = given_names.get(bone.name)
        if given not in places:
            continue
        rest = nearest_rotations(np.array(bone.bone.matrix_local)[:3, :3])
        turn = to_character @ rest  # from the bone's own axes to the character's frame
        bone.rotation_mode = "QUATERNION"
        base = f'pose.bones["{_escaped(bone.name)}"]'
        values = _conjugated(motion["rotations"][:, places[given]], turn)
        _key(curves, base + ".rotation_quaternion", values, bone.name, first)
        moved = motion["moves"][:, places[given]] / size @ turn
        if bone.parent is None or np.abs(moved).max() > _STILL:
            _key(curves, base + ".location", moved, bone.name, first)
    rate = float(motion["fps"])
    scene_data = bpy.context.scene
    scene_data.render.fps = max(1, int(round(rate)))
    scene_data.render.fps_base = max(1, int(round(rate))) / rate
    scene_data.frame_start, scene_data.frame_end = first, first + max(0, frames - 1)


def _cleared(kept, bones: set):
    """As `_new_curve`, of a clip from which the curves of some bones are taken."""
    sets = [kept.action] if kept.slot is None else []
    for layer in kept.action.layers if kept.slot is not None else ():
        sets += [strip.channelbag(kept.slot) for strip in layer.strips if strip.channelbag(kept.slot) is not None]
    for each in sets:
        for curve in list(each.fcurves):
            if bone_of(curve.data_path) in bones:
                each.fcurves.remove(curve)
    return lambda path, index, group: sets[0].fcurves.new(path, index=index)


def _new_curve(action, thing):
    """A function (path, index, group) → new F-curve of the action; Blender 4.4 keeps them in layers and slots."""
    if not hasattr(action, "slots"):
        return lambda path, index, group: action.fcurves.new(path, index=index, action_group=group)
    slot = action.slots.new(id_type="OBJECT", name=thing.name)
    strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
    bag = strip.channelbag(slot, ensure=True)
    thing.animation_data.action_slot = slot
    return lambda path, index, group: bag.fcurves.new(path, index=index)


def _key(curves, path: str, values: np.ndarray, group: str, first: int) -> None:
    frames = first + np.arange(len(values), dtype=np.float64)
    for index in range(values.shape[1]):
        curve = curves(path, index, group)
        curve.keyframe_points.add(len(values))
        curve.keyframe_points.foreach_set("co", np.stack([frames, values[:, index]], axis=1).ravel())
        curve.keyframe_points.foreach_set("interpolation", np.ones(len(values), dtype=np.int64))  # linear
        curve.update()


def _conjugated(quaternions: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Turns given in one frame, as seen from another: the axis of each is turned back."""
    result = quaternions.astype(np.float64).copy()
    result[:, 1:] = result[:, 1:] @ turn
    return result


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _export(path: Path) -> None:
    import addon_utils

    if not addon_utils.check("io_scene_fbx")[1]:
        addon_utils.enable("io_scene_fbx")
    with quiet():
        try:
            bpy.ops.export_scene.fbx(
                filepath=str(path),
                object_types={"ARMATURE", "MESH", "EMPTY"},
                add_leaf_bones=False,
                bake_anim=True,
                bake_anim_use_all_actions=False,
                bake_anim_use_nla_strips=False,
                bake_anim_force_startend_keying=True,
                bake_anim_simplify_factor=0.0,
                path_mode="AUTO",
            )
        except Exception as error:  # whatever an exporter written in Python stumbles over
            raise InputError(
                f"{path}: Blender's exporter fails ({str(error).strip().splitlines()[-1][:160]})"
            ) from None


if __name__ == "__main__":
    guarded(main)
