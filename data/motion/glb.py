"""Retargeted motions as ``.glb``: a character of ours with its skin, or the user's own file with an animation more.

glTF holds metres, y up, facing +z: the character's frame. A motion gives each joint a rotation ``F_j`` relative to its
parent and to the rest pose (mathematics §5, BVH). In a file of ours joints rest unturned, so F is the node's rotation.
In the user's file a bone rests with its own ``R_j``: with ``D_j`` the product of the F along the tree, its node's
rotation is ``(D_p R_p)⁻¹ D_j R_j = R_p⁻¹ F_j R_j``.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import torch
from pytorch3d.transforms import matrix_to_quaternion

from data.character.gltf import GltfCharacter, read_gltf_character
from data.formats.bvh import Bvh, tree_order
from data.formats.gltf import explained, read_container
from data.formats.gltf_writer import INDICES, VERTICES, GltfFile
from data.formats.skeleton import Skeleton, Skin, nearest_rotations
from data.motion.keep import Kept
from utils.errors import InputError
from utils.geometry import angle_weighted_normals

METRES = 0.01
_INFLUENCES = 4
"""Joints that move a vertex: viewers know four."""
_STILL = 1e-6
_CHUNK = 2048


def write_glb(path: str | os.PathLike, skeleton: Skeleton, skin: Skin | None, bvh: Bvh, name: str) -> None:
    """A character with its skin and one animation.

    Args:
        path: to write.
        skeleton: of the character; centimetres.
        skin: its mesh.
        bvh: the motion, whose joints are those of the skeleton in its order.
        name: of character and animation.

    Raises:
        InputError: there is no skin, or the folder cannot be written to.
    """
    if skin is None or not len(skin.faces):
        raise InputError(f"{path}: expected a target with a mesh and skinning weights for glTF, found bones alone; "
                         f"give a character's mesh, or `format` bvh")  # fmt: skip
    file = GltfFile()
    file.json["asset"]["generator"] = "Semantics2Hands"
    joints = _add_skeleton(file, skeleton)
    roots = [joint for joint, parent in enumerate(skeleton.parents) if parent < 0]
    mesh = file.append("nodes", {"name": f"{name}_mesh", "mesh": _add_mesh(file, skin), "skin": 0})
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    inverse[:, :3, 3] = -METRES * skeleton.heads
    binds = file.accessor(inverse)
    file.append("skins", {"joints": joints, "inverseBindMatrices": binds, "skeleton": joints[roots[0]]})
    top = file.append("nodes", {"name": name, "children": [joints[root] for root in roots]})
    if len(roots) > 1:
        file.json["skins"][0]["skeleton"] = top
    file.append("scenes", {"name": name, "nodes": [top, mesh]})  # a skinned mesh does not follow its node
    file.json["scene"] = 0
    rotations = {joint: quaternions(turned) for joint, turned in _moving(bvh).items()}
    positions = {root: METRES * root_positions(bvh, root) for root in roots if _placed(bvh, root, skeleton)}
    add_animation(file, name, bvh, rotations, positions)
    file.write(path)


def write_into_gltf(
    path: str | os.PathLike,
    target: str | os.PathLike,
    bvh: Bvh,
    name: str,
    kept: Kept | None = None,
    fingers: Collection[int] = (),
) -> list[str]:
    """The user's own file with one animation more, which comes first; everything else stays as it is.

    Args:
        path: to write, ``.glb``.
        target: the user's ``.glb``, ``.gltf`` or ``.vrm``.
        bvh: the motion, whose joints are the bones of `data.character.gltf.read_gltf_character` in their order.
        name: of the animation.
        kept: an animation of the target's file, or of another glTF file with its bones: all it moves but ``fingers``
            is taken over key by key, as it is.
        fingers: joints that the motion moves then.

    Returns:
        Names of the animations that the file has already, and that stay beside the new one.

    Raises:
        InputError: the target cannot be read, or has no skin.
    """
    target = Path(target)
    character = read_gltf_character(target)
    if character.skin is None:
        raise InputError(f"{target}: expected a mesh with skinning weights, found bones alone; give the character's "
                         f"own file, or `format` bvh")  # fmt: skip
    content, buffers = read_container(target)
    with explained(target):
        file = GltfFile(content, buffers)
        stays = [str(each.get("name", f"number {n}")) for n, each in enumerate(file.json.get("animations", []), 1)]
        _embed_images(file, target)
        rotations, positions = _node_motion(character, bvh, file.json["nodes"])
        others = None
        if kept is not None:
            nodes = {int(character.nodes[joint]) for joint in fingers}
            rotations, positions = ({n: part[n] for n in nodes & part.keys()} for part in (rotations, positions))
            others = _kept_tracks(file, character, kept, nodes, kept.path.resolve() == target.resolve())
        add_animation(file, name, bvh, rotations, positions, others, 0.0 if kept is None else kept.start, first=True)
    file.write(path)
    return stays


def quaternions(rotations: np.ndarray) -> np.ndarray:
    """(F, 3, 3) → (F, 4) float32 unit quaternions (x, y, z, w), neighbours with the same sign."""
    wxyz = matrix_to_quaternion(torch.from_numpy(np.ascontiguousarray(rotations))).numpy()
    flips = np.where((wxyz[1:] * wxyz[:-1]).sum(axis=1) < 0, -1.0, 1.0)
    wxyz[1:] *= np.cumprod(flips)[:, None]
    return wxyz[:, [1, 2, 3, 0]].astype(np.float32)


def root_positions(bvh: Bvh, joint: int) -> np.ndarray:
    """(F, 3) position of a root in the file's unit: its position channels, or its offset."""
    starts = np.cumsum([0, *map(len, bvh.channels)])
    result = np.broadcast_to(bvh.offsets[joint], (bvh.n_frames, 3)).copy()
    for c, channel in enumerate(bvh.channels[joint]):
        if channel.endswith("position"):
            result[:, "XYZ".index(channel[0])] = bvh.values[:, starts[joint] + c]
    return result


# -- pieces of a file ----------------------------------------------------------------------------------------------


def _add_skeleton(file: GltfFile, skeleton: Skeleton) -> list[int]:
    first = len(file.json.get("nodes", []))
    offsets = METRES * skeleton.offsets
    for joint, name in enumerate(skeleton.names):
        node = {"name": name, "translation": offsets[joint].tolist()}
        children = np.flatnonzero(skeleton.parents == joint)
        if len(children):
            node["children"] = (first + children).tolist()
        file.append("nodes", node)
    return list(range(first, first + len(skeleton.names)))


def _add_mesh(file: GltfFile, skin: Skin) -> int:
    order = np.argsort(-skin.weights, axis=1, kind="stable")[:, :_INFLUENCES]
    if order.shape[1] < _INFLUENCES:
        order = np.pad(order, ((0, 0), (0, _INFLUENCES - order.shape[1])))
    shares = np.take_along_axis(skin.weights, order, axis=1).astype(np.float64)
    shares[:, skin.weights.shape[1] :] = 0
    total = shares.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, shares / np.where(total > 0, total, 1), [1.0, 0, 0, 0]).astype(np.float32)
    joints = np.where(shares > 0, order, 0).astype(np.uint16)
    normals = angle_weighted_normals(skin.vertices, skin.faces)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 1e-9, normals / np.where(length > 1e-9, length, 1), [0.0, 1, 0]).astype(np.float32)
    vertices = (METRES * skin.vertices).astype(np.float32)
    indices = skin.faces.reshape(-1).astype(np.uint32)
    material = {
        "name": "skin",
        "pbrMetallicRoughness": {
            "baseColorFactor": [0.91, 0.76, 0.67, 1.0],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.7,
        },
    }  # fmt: skip
    primitive = {
        "attributes": {
            "POSITION": file.accessor(vertices, VERTICES, bounds=True),
            "NORMAL": file.accessor(normals, VERTICES),
            "JOINTS_0": file.accessor(joints, VERTICES),
            "WEIGHTS_0": file.accessor(shares, VERTICES),
        },
        "indices": file.accessor(indices, INDICES),
        "material": file.append("materials", material),
    }
    return file.append("meshes", {"name": "skin", "primitives": [primitive]})


def add_animation(
    file: GltfFile,
    name: str,
    bvh: Bvh,
    rotations: dict[int, np.ndarray],
    positions: dict[int, np.ndarray],
    others: tuple[list[dict], list[dict]] | None = None,
    start: float = 0.0,
    first: bool = False,
) -> None:
    """Channels for nodes: (F, 4) rotations and (F, 3) positions from ``start`` seconds on; those that hold still get
    one key. ``others`` are samplers and channels that are there already."""
    times = (start + np.arange(bvh.n_frames) * bvh.frame_time).astype(np.float32)
    if len(times) > 1 and not (np.diff(times) > 0).all():
        raise InputError("glTF holds times in single precision: the motion is too long for its frame rate")
    whole, still = file.accessor(times, bounds=True), None
    samplers, channels = others or ([], [])
    for path, tracks in (("rotation", rotations), ("translation", positions)):
        for node, values in tracks.items():
            values = values.astype(np.float32)
            when = whole
            if np.ptp(values, axis=0).max() < _STILL:
                if still is None:
                    still = file.accessor(times[:1], bounds=True)
                values, when = values[:1], still
            samplers.append({"input": when, "interpolation": "LINEAR", "output": file.accessor(values)})
            channels.append({"sampler": len(samplers) - 1, "target": {"node": int(node), "path": path}})
    if not channels:  # a motion that does nothing: an animation must have a channel
        raise InputError("expected a joint that can be moved, found none")
    animation = {"name": name, "samplers": samplers, "channels": channels}
    animations = file.json.setdefault("animations", [])
    animations.insert(0 if first else len(animations), animation)


def _moving(bvh: Bvh) -> dict[int, np.ndarray]:
    """Joint → (F, 3, 3) rotations of all joints."""
    joints = range(len(bvh.joint_names))
    parts = []
    for start in range(0, bvh.n_frames, _CHUNK):
        part = Bvh(bvh.joint_names, bvh.parents, bvh.offsets, bvh.channels, bvh.values[start : start + _CHUNK], 1.0)
        parts.append(part.rotations(joints))
    rotations = np.concatenate(parts)
    return {joint: rotations[:, joint] for joint in joints}


def _placed(bvh: Bvh, root: int, skeleton: Skeleton) -> bool:
    return bool(np.abs(root_positions(bvh, root) - skeleton.heads[root]).max() > 1e-5)


# -- the user's file -----------------------------------------------------------------------------------------------


def _node_motion(character: GltfCharacter, bvh: Bvh, nodes: list[dict]) -> tuple[dict, dict]:
    """Node → (F, 4) rotations and (F, 3) positions that move the bones of a file as a motion says.

    Bones are brought into the bind pose, from which the motion counts, wherever their nodes stand.
    """
    skeleton, world = character.skeleton, character.above()
    rest = skeleton.rest
    rest[:, :3, 3] *= METRES
    elsewhere = np.flatnonzero(bvh.parents != skeleton.parents)
    poses = posed(bvh) if len(elsewhere) else None
    rotations: dict[int, np.ndarray] = {}
    positions: dict[int, np.ndarray] = {}
    for bone, turned in _moving(bvh).items():
        node, parent = int(character.nodes[bone]), int(skeleton.parents[bone])
        above = rest[parent] if parent >= 0 else world[bone]
        before, after = nearest_rotations(above[:3, :3]), nearest_rotations(rest[bone, :3, :3])
        back = np.linalg.inv(above)
        place = (back @ rest[bone])[:3, 3]
        if poses is not None and bone in elsewhere:  # the motion hangs it on another bone than the file does
            turned, moved = seen_from(poses, bone, parent)
            place = METRES * moved @ back[:3, :3].T + (back[:3, 3] if parent < 0 else 0)
        elif parent < 0:
            moved = METRES * (root_positions(bvh, bone) - skeleton.offsets[bone])
            place = place + moved @ back[:3, :3].T
        _without_matrix(nodes[node])
        values = quaternions(before.T @ turned @ after)
        stands = np.array(nodes[node].get("rotation", [0.0, 0, 0, 1]))
        if np.minimum(np.abs(values - stands).max(axis=1), np.abs(values + stands).max(axis=1)).max() > _STILL:
            rotations[node] = values
        place = np.broadcast_to(place, (bvh.n_frames, 3))
        stands = np.array(nodes[node].get("translation", [0.0, 0, 0]))
        if np.abs(place - stands).max() > _STILL + 1e-5 * np.abs(stands).max():
            positions[node] = place
    if not rotations and len(character.nodes):
        node = int(character.nodes[0])
        rotations[node] = np.broadcast_to(nodes[node].get("rotation", [0.0, 0, 0, 1]), (bvh.n_frames, 4))
    return rotations, positions


def _kept_tracks(
    file: GltfFile, character: GltfCharacter, kept: Kept, fingers: set[int], own: bool
) -> tuple[list[dict], list[dict]]:
    """Samplers and channels of an animation for all but some nodes: of the file itself, or brought into it."""
    samplers: list[dict] = []
    channels: list[dict] = []
    if own:
        bones = set(character.nodes.tolist())
        moving = [each for each in file.json["animations"] if not bones.isdisjoint(_moved_nodes(each))]
        animation = moving[kept.clip]
        for channel in animation["channels"]:
            if channel["target"].get("node") not in fingers:
                samplers.append(animation["samplers"][channel["sampler"]])
                channels.append({**channel, "sampler": len(samplers) - 1})
        return samplers, channels
    other = read_gltf_character(kept.path)
    nodes = {node.get("name"): number for number, node in enumerate(file.json["nodes"])}
    for track in other.animations[kept.clip].tracks:
        node = nodes.get(other.gltf.node_names[track.node])
        if node is not None and node not in fingers:
            _without_matrix(file.json["nodes"][node])
            values = track.values.reshape(-1, track.values.shape[-1]).astype(np.float32)
            times = file.accessor(track.times.astype(np.float32), bounds=True)
            samplers.append({"input": times, "interpolation": track.interpolation, "output": file.accessor(values)})
            channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": track.path}})
    return samplers, channels


def _moved_nodes(animation: dict) -> set[int]:
    targets = [channel["target"] for channel in animation["channels"]]
    return {each["node"] for each in targets if "node" in each and each.get("path") != "weights"}


def posed(bvh: Bvh) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (F, J, 3, 3) of all joints in space and their places (F, J, 3)."""
    local = bvh.rotations()
    turned, places = np.empty_like(local), np.empty(local.shape[:-1])
    for joint in tree_order(bvh.parents):
        above = int(bvh.parents[joint])
        if above < 0:
            turned[:, joint], places[:, joint] = local[:, joint], root_positions(bvh, joint)
        else:
            turned[:, joint] = turned[:, above] @ local[:, joint]
            places[:, joint] = places[:, above] + turned[:, above] @ bvh.offsets[joint]
    return turned, places


def seen_from(poses: tuple[np.ndarray, np.ndarray], bone: int, parent: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (F, 3, 3) and place (F, 3) of a bone, undone what its parent in the file does; in the rest pose's
    space."""
    turned, places = poses
    if parent < 0:
        return turned[:, bone], places[:, bone]
    back = np.swapaxes(turned[:, parent], -1, -2)
    return back @ turned[:, bone], np.einsum("fij,fj->fi", back, places[:, bone] - places[:, parent])


def _without_matrix(node: dict) -> None:
    """Nodes that are animated must have translation, rotation and scale in place of a matrix."""
    if "matrix" not in node:
        return
    matrix = np.array(node.pop("matrix"), dtype=np.float64).reshape(4, 4).T
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if np.linalg.det(matrix[:3, :3]) < 0:
        scale = -scale
    rotation = nearest_rotations(matrix[:3, :3] / np.where(scale == 0, 1, scale))
    node["translation"], node["scale"] = matrix[:3, 3].tolist(), scale.tolist()
    node["rotation"] = quaternions(rotation[None])[0].astype(float).tolist()


def _embed_images(file: GltfFile, target: Path) -> None:
    """Pictures that lie beside a ``.gltf`` go into the ``.glb``; those that are not there keep their names."""
    folder = target.parent.resolve()
    for image in file.json.get("images", []):
        uri = str(image.get("uri", ""))
        if not uri or uri.startswith("data:") or "://" in uri or "\0" in uri:
            continue
        picture = (folder / unquote(uri)).resolve()
        if folder in picture.parents and picture.is_file():
            kind = mimetypes.guess_type(picture.name)[0]
            if kind in ("image/png", "image/jpeg"):
                image["bufferView"], image["mimeType"] = file.view(picture.read_bytes()), kind
                del image["uri"]
