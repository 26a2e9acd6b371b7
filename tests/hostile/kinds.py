"""Small valid files of hands in motion, of characters, and of settings, as far as `tests.hostile.corpus` has none."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path

import numpy as np
import yaml

from data.formats.gltf import read_container
from data.motion.writing import Job, output_paths, write_motion
from model.topology import FINGERS, ROOTS, SIDES, hand_joint_names
from tests.data.motion.test_writing import body_motion, poses
from tests.data.points.hands import angles, hand_points, listed
from tests.data.rig.rigs import character, skeleton
from tests.gltf_files import glb

FRAMES = 4


def write_kinds(folder: Path, rng: np.random.Generator) -> None:
    """Write all of them into a folder."""
    write_captures(folder, rng)
    write_points(folder)
    write_bodies(folder)
    write_settings(folder)


def write_captures(folder: Path, rng: np.random.Generator) -> None:
    """Poses of MANO hands as capture programs spell them."""
    wrist, right, left = (rng.normal(scale=0.4, size=(FRAMES, width)) for width in (3, 45, 45))
    body, turn = rng.normal(scale=0.3, size=(FRAMES, 63)), np.eye(3)[[1, 2, 0]]
    whole = np.concatenate([wrist, body, np.zeros((FRAMES, 9)), left, right], axis=1)
    kinds = {
        "smplx": {"poses": whole, "betas": np.zeros(300), "mocap_frame_rate": np.array(30.0)},
        "parts": {"left_hand_pose": left, "right_hand_pose": right, "global_orient": wrist, "body_pose": body},
        "amass": {"pose_hand": np.hstack([left, right]), "root_orient": wrist, "pose_body": body},
        "grab": {"global_orient": wrist, "hand_pose": np.zeros((FRAMES, 24)), "fullpose": right},
        "dexycb": {"pose_m": np.hstack([wrist, right, wrist]), "mano_side": np.array("right")},
        "hamer": {"hand_pose": np.tile(turn, (2 * FRAMES, 15, 1, 1)), "betas": np.zeros((2 * FRAMES, 10)),
                  "global_orient": np.tile(turn, (2 * FRAMES, 1, 1, 1)),
                  "is_right": np.repeat([1.0, 0], FRAMES)},
        "ours": {"pose": np.hstack([wrist, right]), "flat_hand_mean": np.array(False), "fps": np.array(25)},
    }  # fmt: skip
    for name, arrays in kinds.items():
        np.savez_compressed(folder / f"{name}.npz", **arrays)
    hands = {"right": {"pose": right.round(4).tolist(), "rot": wrist.round(4).tolist()}, "fps": 30}
    (folder / "poses.json").write_text(json.dumps(hands))


def write_points(folder: Path) -> None:
    """Positions of joints in every form but those of `tests.hostile.corpus.points`."""
    seen = hand_points(angles(FRAMES, 3, share=0.1)) / 100
    media = listed(seen, "MediaPipe, OpenPose").round(5)
    np.save(folder / "points.npy", media)
    np.savez_compressed(folder / "points.npz", right_joints=media, fps=np.array(30.0), joint_radii=np.ones(21) / 100)
    _table(folder / "points.csv", ["time", *(f"{axis}{joint}" for joint in range(21) for axis in "xyz")],
           [[frame / 60, *row] for frame, row in enumerate(media.reshape(FRAMES, 63).tolist())])  # fmt: skip
    rows = [[frame, "Right", joint, *media[frame, joint].tolist()] for frame in range(FRAMES) for joint in range(21)]
    _table(folder / "joints.csv", ["frame", "hand", "joint", "x", "y", "z"], rows)
    radii = np.linspace(0.012, 0.004, 26).round(5).tolist()
    frames = [{"time": frame / 72, "hand": "right", "joints": places, "radii": radii}
              for frame, places in enumerate(listed(seen, "OpenXR, the palm first").round(5).tolist())]  # fmt: skip
    (folder / "openxr.json").write_text(json.dumps({"frames": frames}))


def _table(path: Path, names: list[str], rows: list[list]) -> None:
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n")


def write_bodies(folder: Path) -> None:
    """A body with both hands that moves, as GLB, glTF, VRM, and as an animation for VRM."""
    with tempfile.TemporaryDirectory() as name:
        hidden = Path(name)
        target = character(skeleton(), hidden)
        moves = Job(body_motion(skeleton(), hidden), target, poses(*SIDES))
        for kind, name in (("glb", "body.glb"), ("vrma", "moves.vrma")):
            (path,), _ = write_motion(moves, output_paths(target, SIDES, hidden / "made", [kind], False))
            (folder / name).write_bytes(path.read_bytes())
    content, (binary,) = read_container(folder / "body.glb")
    table = {"VRMC_vrm": {"specVersion": "1.0", "humanoid": {"humanBones": _bones_of_a_human(content["nodes"])}}}
    (folder / "avatar.vrm").write_bytes(glb({**content, "extensions": table}, binary))
    uri = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    (folder / "body.gltf").write_text(json.dumps({**content, "buffers": [{"byteLength": len(binary), "uri": uri}]}))


def _bones_of_a_human(nodes: list[dict]) -> dict:
    """VRM's table of the nodes of `skeleton`."""
    place = {node.get("name"): {"node": number} for number, node in enumerate(nodes)}
    bones = {"hips": place["Hips"], "spine": place["Spine"]}
    for side in ("Right", "Left"):
        bones[f"{side.lower()}Hand"] = place[f"{side}Hand"]
        for finger in FINGERS:
            second = "Proximal" if finger == "thumb" else "Intermediate"
            words = ("Metacarpal" if finger == "thumb" else "Proximal", second, "Distal")
            called = "Little" if finger == "pinky" else finger.capitalize()
            for bone, word in enumerate(words, start=1):
                bones[f"{side.lower()}{called}{word}"] = place[f"{side}Hand{finger.capitalize()}{bone}"]
    return bones


def write_settings(folder: Path) -> None:
    """What users write or keep: a rig's map, splits, a configuration; what our own programs remember."""
    hand = hand_joint_names("mixamo", "right")
    rig = {"wrist": f"mixamorig:{hand[0]}"}
    rig |= {finger: [f"mixamorig:{name}" for name in hand[root : root + 4]]
            for finger, root in zip(FINGERS, ROOTS, strict=True)}  # fmt: skip
    (folder / "rig.yaml").write_text(yaml.safe_dump({"right": rig}, sort_keys=False))
    splits = {split: {"mixamo": ["Hand0", "Hand1..3"], "mano": ["Mano0"]} for split in ("train", "val", "test_inside")}
    (folder / "splits.yaml").write_text(yaml.safe_dump(splits))
    (folder / "config.yaml").write_text(CONFIGURATION)
    accepted = [{"side": "right", "finger": finger, "bend": [0.0, 0.6, 0.8]} for finger in FINGERS]
    record = {"version": 1, "source": "mesh 1", "accepted": accepted}
    (folder / "axes.pkl.annotation.json").write_text(json.dumps(record))
    made = {"state": "1 abc", "made": ["Aj_mesh_data.npz"], "notes": ["a note"]}
    (folder / "Aj_source.json").write_text(json.dumps({"Aj.glb": made}))
    manifest = {"fingerprint": "abc", "plan": {"side": "right"}, "report": {"seconds": 1.0}, "files": ["Aj/a.bvh"]}
    (folder / "open_hands.json").write_text(json.dumps(manifest))


CONFIGURATION = """# pytorch_lightning==1.7.7
trainer:
  gpus: 1
  replace_sampler_ddp: true
  strategy: dp
  max_epochs: 3
  precision: 16
  logger:
    class_path: pytorch_lightning.loggers.TensorBoardLogger
    init_args: {save_dir: logs, agg_key_funcs: null}
  callbacks:
  - class_path: pytorch_lightning.callbacks.ModelCheckpoint
    init_args: {dirpath: /home/someone/logs, save_top_k: 1}
model:
  distance_weighted: true
  lambda_rf_unweighted: 5.0e-2
  smplx_model_path: /home/someone/smplx
optim:
  lr: 1e-4
"""
