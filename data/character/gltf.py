"""A character from a glTF file: skeleton, skin and motions, without Blender.

glTF is in metres, y up and facing +z; a character is in centimetres in the same frame. Bones and skin are those of the
skins' bind pose (what the inverse bind matrices say), wherever the nodes stand in the file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pytorch3d.transforms import quaternion_to_matrix
from torch import from_numpy

from data.formats.bvh import Bvh
from data.formats.character_files import GLTF_FPS, frame_count
from data.formats.gltf import Animation, Gltf, Skinning, Track, explained, read_gltf, require
from data.formats.skeleton import Skeleton, Skin, merged, motion, unique_names, usable, welded
from data.rig import RigMap, find_hand, hand_sides
from utils.errors import InputError

CM = 100.0
MAX_BONES = 2000
_CHUNK = 1024
"""Frames worked on at once."""
MAX_WEIGHTS = 100_000_000
"""Vertices times bones that a skin may have: 400 MB."""


@dataclass(frozen=True)
class GltfCharacter:
    """One character of a glTF file, ready to be written."""

    skeleton: Skeleton
    skin: Skin | None
    """None: the file has no mesh that follows these bones."""
    clips: tuple[str, ...]
    """Different names, one for each animation that moves a bone."""
    notes: tuple[str, ...]
    """What was left out, one sentence each."""
    gltf: Gltf
    nodes: np.ndarray
    """(J,) node number of each bone."""
    animations: tuple[Animation, ...]
    hands: RigMap | None
    """Which bones the hands consist of, as the file's own table says."""

    def above(self) -> np.ndarray:
        """(J, 4, 4) where the node above each bone stands in the file, metres; the identity where there is none."""
        above = self.gltf.parents[self.nodes]
        world = np.tile(np.eye(4), (len(above), 1, 1))
        there = above >= 0
        world[there] = _world(self.gltf, above[there])
        return world

    def motion(self, clip: int, fps: float | None = None) -> Bvh:
        """The motion of animation number `clip`, sampled `fps` times a second (None: 60) from first to last key.

        Raises:
            InputError: it is too long, or a pose is not finite.
        """
        tracks, fps = self.animations[clip].tracks, fps or GLTF_FPS
        start, end = min(track.times[0] for track in tracks), max(track.times[-1] for track in tracks)
        n_frames = frame_count(end - start, fps, len(self.nodes), self.clips[clip])
        times = start + np.arange(n_frames) / fps

        def pose(first: int, last: int) -> np.ndarray:
            world = _world(self.gltf, self.nodes, _sampled(self.gltf, tracks, times[first:last]))
            with np.errstate(over="ignore", invalid="ignore"):
                world[..., :3, 3] *= CM
            return world

        return motion(self.skeleton, pose, n_frames, 1.0 / fps, self.skin)


def read_gltf_character(path: str | os.PathLike, armature: str | None = None, with_skin: bool = True) -> GltfCharacter:
    """Read the character of a glTF, GLB or VRM file.

    Its bones are the joints of all skins and the nodes between them; in a file without skins, the nodes that its table
    of human bones names (VRM), or the tree of nodes that its animations move. Meshes that
    hang rigidly on a bone follow that bone.

    Args:
        path: the file.
        armature: of several armatures in a file, the name of the one to take (the name of its node or of its topmost
            bone). None takes the one that has skin.
        with_skin: False leaves it out, which takes longest.

    Raises:
        InputError: the file cannot be read, has no bones, or has several armatures and none is named.
    """
    path = Path(path)
    gltf = read_gltf(path)
    with explained(path):
        groups = _groups(gltf)
        nodes = _chosen(gltf, groups, armature)
        require(len(nodes) <= MAX_BONES, f"expected at most {MAX_BONES} bones, found {len(nodes)}")
        names = unique_names([gltf.node_names[node] or f"node{node}" for node in nodes])
        place = {int(node): bone for bone, node in enumerate(nodes)}
        parents = np.array([place.get(int(gltf.parents[node]), -1) for node in nodes], np.int64)
        rest, spaces = _rest(gltf, nodes, parents)
        skin, left_out = _skin(gltf, place, rest, spaces) if with_skin else (None, 0)
        rest = usable(rest)
        rest[:, :3, 3] *= CM
        animations = tuple(a for a in gltf.animations if any(track.node in place for track in a.tracks))
        notes = [f"{left_out} meshes that no bone moves were left out"] if left_out else []
        if len(groups) > 1:
            notes.append(f"took one of {len(groups)} armatures")
        return GltfCharacter(
            skeleton=Skeleton.of_rest(names, parents, rest),
            skin=skin,
            clips=unique_names([animation.name for animation in animations]),
            notes=tuple(notes),
            gltf=gltf,
            nodes=nodes,
            animations=animations,
            hands=_hands(path, gltf, names, parents, place),
        )


def _hands(path: Path, gltf: Gltf, names: Sequence[str], parents: np.ndarray, place: dict[int, int]) -> RigMap | None:
    """The hands that a VRM file's table of human bones names; None without one."""
    called = [""] * len(names)
    for bone, node in gltf.humanoid.items():
        if node in place:
            called[place[node]] = bone
    found = {side: find_hand(called, side, str(path), parents) for side in hand_sides(called, parents)}
    hands = {side: tuple(None if i is None else names[i] for i in hand.indices) for side, hand in found.items()}
    return RigMap(str(path), hands) if hands else None


# ----------------------------------------------------------------------------------------------------
# Bones
# ----------------------------------------------------------------------------------------------------


def _groups(gltf: Gltf) -> list[np.ndarray]:
    """Armatures: (J,) node numbers each, every node after its parent."""
    n_nodes = len(gltf.node_names)
    human = np.array(sorted(set(gltf.humanoid.values())), np.int64)
    seeds = [skin.joints for skin in gltf.skins] or [human if len(human) else _animated(gltf)]
    bones = np.zeros(n_nodes, bool)
    bones[np.concatenate(seeds)] = True
    order = _tree_order(gltf.parents)
    below = bones.copy()  # has a bone among its descendants or is one
    for node in order[::-1]:
        if gltf.parents[node] >= 0:
            below[gltf.parents[node]] |= below[node]
    above = bones.copy()  # has a bone among its ancestors or is one
    for node in order:
        if gltf.parents[node] >= 0:
            above[node] |= above[gltf.parents[node]]
    bones = above & below
    owner = np.arange(n_nodes)  # the topmost bone of each bone, then one for all roots of a skin

    def find(node: int) -> int:
        while owner[node] != node:
            owner[node] = owner[owner[node]]
            node = owner[node]
        return node

    for node in order:
        if bones[node] and gltf.parents[node] >= 0 and bones[gltf.parents[node]]:
            owner[node] = find(gltf.parents[node])
    for joints in seeds:
        for joint in joints[1:]:
            owner[find(joint)] = find(joints[0])
    tops = np.array([find(node) if bones[node] else -1 for node in order])
    ordered = np.array(order)
    return [ordered[tops == top] for top in dict.fromkeys(tops[tops >= 0].tolist())]


def _animated(gltf: Gltf) -> np.ndarray:
    """Nodes that serve as bones in a file without skins: those moved, and all below them that hold no mesh."""
    moved = np.zeros(len(gltf.node_names), bool)
    for animation in gltf.animations:
        moved[[track.node for track in animation.tracks]] = True
    for node in _tree_order(gltf.parents):
        if gltf.parents[node] >= 0:
            moved[node] |= moved[gltf.parents[node]]
    moved &= ~gltf.has_mesh
    require(bool(moved.any()), "expected an armature, found neither skins nor animated nodes")
    return np.flatnonzero(moved)


def _tree_order(parents: np.ndarray) -> list[int]:
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(parents.tolist()):
        children.setdefault(parent, []).append(node)
    order, waiting = [], children.get(-1, [])[::-1]
    while waiting:
        order.append(waiting.pop())
        waiting += children.get(order[-1], [])[::-1]
    return order


def _chosen(gltf: Gltf, groups: Sequence[np.ndarray], wanted: str | None) -> np.ndarray:
    names = []
    for group in groups:
        top = int(group[0])
        parent = int(gltf.parents[top])
        names.append((gltf.node_names[top], gltf.node_names[parent] if parent >= 0 else ""))
    if wanted is not None:
        fitting = [group for group, own in zip(groups, names, strict=True) if wanted in own]
    else:
        skinned = [surface.skin for surface in gltf.surfaces if surface.skin >= 0]
        joints = {int(joint) for skin in skinned for joint in gltf.skins[skin].joints}
        fitting = [group for group in groups if joints.intersection(group.tolist())] or list(groups)
    if len(fitting) != 1:
        listed = ", ".join(dict.fromkeys(own or parent or "(no name)" for own, parent in names))
        wish = "one armature" if wanted is None else f"one armature named {wanted}"
        raise InputError(
            f"expected {wish}, found {len(fitting)} of {len(groups)}: {listed[:300]}; name it with `armature`"
        )
    return fitting[0]


def _local(gltf: Gltf, nodes: np.ndarray) -> np.ndarray:
    """(n, 4, 4) local transforms of nodes as they stand in the file, metres."""
    local = _composed(gltf.translations[nodes], gltf.rotations[nodes], gltf.scales[nodes])
    for place, node in enumerate(nodes.tolist()):
        if node in gltf.matrices:
            local[place] = gltf.matrices[node]
    return local


def _composed(translations: np.ndarray, rotations: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Translation (..., 3), quaternion (x, y, z, w) (..., 4), scale (..., 3) → (..., 4, 4)."""
    local = np.zeros((*rotations.shape[:-1], 4, 4))
    scalar_first = np.ascontiguousarray(rotations[..., [3, 0, 1, 2]])
    local[..., :3, :3] = quaternion_to_matrix(from_numpy(scalar_first)).numpy() * scales[..., None, :]
    local[..., :3, 3] = translations
    local[..., 3, 3] = 1
    return local


def _world(gltf: Gltf, wanted: np.ndarray, moved: dict[int, np.ndarray] | None = None) -> np.ndarray:
    """(..., n, 4, 4) global transforms of nodes in metres; `moved`: node → (F, 4, 4) where it is not as in the file.

    All nodes of the same depth are multiplied at once.
    """
    needed = np.zeros(len(gltf.parents), bool)
    step = wanted
    while len(step):
        needed[step] = True
        step = np.unique(gltf.parents[step])
        step = step[step >= 0]
        step = step[~needed[step]]
    nodes = np.array([node for node in _tree_order(gltf.parents) if needed[node]])
    place = np.full(len(gltf.parents), -1)
    place[nodes] = np.arange(len(nodes))
    above = np.where(gltf.parents[nodes] >= 0, place[gltf.parents[nodes]], -1)
    depth = np.zeros(len(nodes), np.int64)
    for number, parent in enumerate(above.tolist()):
        depth[number] = depth[parent] + 1 if parent >= 0 else 0
    frames = next((len(value) for value in (moved or {}).values()), 1)
    world = np.repeat(_local(gltf, nodes)[None], frames, axis=0)
    for node, local in (moved or {}).items():
        if place[node] >= 0:
            world[:, place[node]] = local
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is reported by whoever uses it
        for level in range(1, depth.max() + 1):
            at = np.flatnonzero(depth == level)
            world[:, at] = world[:, above[at]] @ world[:, at]
    return world[:, place[wanted]] if moved is not None else world[0, place[wanted]]


def _rest(gltf: Gltf, nodes: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Rest transforms (J, 4, 4) in metres, and for each skin the transform from its mesh's space to there.

    An inverse bind matrix tells a joint's rest pose in its mesh's space only. Where that space lies is told by the
    topmost joint of each skin: it rests where its node stands, or where the bones of another skin put it.
    """
    place = {int(node): bone for bone, node in enumerate(nodes)}
    inverse: dict[int, list[tuple[int, np.ndarray]]] = {}
    for number, skin in enumerate(gltf.skins):
        for joint, matrix in zip(skin.joints.tolist(), skin.inverse_bind, strict=True):
            if joint in place:
                inverse.setdefault(place[joint], []).append((number, matrix))
    standing, local = _world(gltf, nodes), _local(gltf, nodes)
    rest, spaces = np.empty((len(nodes), 4, 4)), {}
    for bone, parent in enumerate(parents):
        known = [(number, matrix) for number, matrix in inverse.get(bone, []) if number in spaces]
        if known:
            rest[bone] = spaces[known[0][0]] @ _inverted(known[0][1], gltf.node_names[nodes[bone]])
        else:
            rest[bone] = rest[parent] @ local[bone] if parent >= 0 else standing[bone]
        for number, matrix in inverse.get(bone, []):
            spaces.setdefault(number, rest[bone] @ matrix)
    if not np.abs(rest).max() < 1e6:
        raise InputError("expected bones within 1000 km, found some beyond; export it again")
    return rest, spaces


def _inverted(matrix: np.ndarray, joint: str) -> np.ndarray:
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        raise InputError(f"expected an inverse bind matrix of {joint} that can be inverted; export it again") from None


# ----------------------------------------------------------------------------------------------------
# Skin
# ----------------------------------------------------------------------------------------------------


def _skin(
    gltf: Gltf, place: dict[int, int], rest: np.ndarray, spaces: dict[int, np.ndarray]
) -> tuple[Skin | None, int]:
    """All meshes that these bones move as one skin in centimetres, and the number of meshes left out."""
    parts, left_out = [], 0
    total = sum(len(surface.vertices) for surface in gltf.surfaces)
    require(total * len(place) <= MAX_WEIGHTS, f"expected a character, found {total} vertices for {len(place)} bones")
    for surface in gltf.surfaces:
        if surface.skin >= 0 and surface.skin in spaces:
            part = _soft(surface.vertices, surface, gltf.skins[surface.skin], place, rest)
        else:
            part = _rigid(gltf, surface, place, rest)
        if part is None:
            left_out += 1
        else:
            parts.append(Skin(part[0] * CM, surface.faces, part[1]))
    if not parts:
        return None, left_out
    skin = welded(merged(parts, len(place)))
    if not np.abs(skin.vertices).max(initial=0.0) < 1e8:
        raise InputError("expected a skin within 1000 km, found some beyond; export it again")
    return skin, left_out


def _soft(vertices, surface, skin: Skinning, place: dict[int, int], rest: np.ndarray):
    """Vertices (V, 3) of a skinned mesh in the rest pose, metres, and its weights (V, J)."""
    bones = np.array([place.get(joint, -1) for joint in skin.joints.tolist()])
    at = bones[surface.joints]
    shares = np.where(at >= 0, surface.weights, 0.0)
    weights = np.zeros((len(vertices), len(place)))
    np.add.at(weights, (np.arange(len(vertices))[:, None], at), shares)
    total = weights.sum(axis=1, keepdims=True)
    transforms = rest[bones] @ skin.inverse_bind
    shares = np.where(total > 0, shares / np.where(total > 0, total, 1), 0.0)
    free = total[:, 0] <= 0  # vertices that nothing moves stay in the mesh's space, placed like its first joint
    moved = np.zeros_like(vertices)
    for layer in range(shares.shape[1]):
        own = transforms[surface.joints[:, layer]]
        point = np.einsum("vij,vj->vi", own[:, :3, :3], vertices) + own[:, :3, 3]
        moved += shares[:, layer, None] * point
    moved[free] = vertices[free] @ transforms[0, :3, :3].T + transforms[0, :3, 3]
    return moved, weights.astype(np.float32)


def _rigid(gltf: Gltf, surface, place: dict[int, int], rest: np.ndarray):
    """Like `_soft` for a mesh without skin that hangs below a bone; None if it does not."""
    chain, node = [], surface.node
    while node >= 0 and node not in place:
        chain.append(node)
        node = int(gltf.parents[node])
    if node < 0:
        return None
    transform = rest[place[node]]
    for local in _local(gltf, np.array(chain[::-1], dtype=np.int64)):
        transform = transform @ local
    weights = np.zeros((len(surface.vertices), len(place)), np.float32)
    weights[:, place[node]] = 1
    return surface.vertices @ transform[:3, :3].T + transform[:3, 3], weights


# ----------------------------------------------------------------------------------------------------
# Motion
# ----------------------------------------------------------------------------------------------------


def _sampled(gltf: Gltf, tracks: Sequence[Track], times: np.ndarray) -> dict[int, np.ndarray]:
    """Node → (F, 4, 4) local transforms in metres at the given seconds."""
    parts: dict[int, dict[str, np.ndarray]] = {}
    for track in tracks:
        parts.setdefault(track.node, {})[track.path] = interpolated(track, times)
    result = {}
    for node, own in parts.items():
        rest = {"translation": gltf.translations, "rotation": gltf.rotations, "scale": gltf.scales}
        values = [
            own.get(path, np.broadcast_to(still[node], (len(times), still.shape[1]))) for path, still in rest.items()
        ]
        result[node] = _composed(*values)
    return result


def interpolated(track: Track, times: np.ndarray) -> np.ndarray:
    """(F, 3 or 4) values of a track at the given seconds (glTF 2.0, appendix C): held before the first and after the
    last key; rotations are unit quaternions, interpolated along the shorter arc."""
    keys = track.times
    after = np.clip(np.searchsorted(keys, times, side="right"), 1, max(1, len(keys) - 1))
    before, after = after - 1, np.minimum(after, len(keys) - 1)
    span = keys[after] - keys[before]
    share = np.clip((times - keys[before]) / np.where(span > 0, span, 1), 0, 1)[:, None]
    if track.interpolation == "CUBICSPLINE":
        values = _cubic(track.values, before, after, share, span[:, None])
    elif track.interpolation == "STEP":
        values = track.values[np.where(share[:, 0] >= 1, after, before)]
    elif track.path == "rotation":
        values = _slerp(_unit(track.values[before]), _unit(track.values[after]), share)
    else:
        values = track.values[before] * (1 - share) + track.values[after] * share
    return _unit(values) if track.path == "rotation" else values


def _cubic(values, before, after, t, span):
    """Cubic Hermite spline; tangents are per second."""
    return (
        (2 * t**3 - 3 * t**2 + 1) * values[before, 1]
        + span * (t**3 - 2 * t**2 + t) * values[before, 2]
        + (3 * t**2 - 2 * t**3) * values[after, 1]
        + span * (t**3 - t**2) * values[after, 0]
    )


def _slerp(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    dot = (a * b).sum(axis=-1, keepdims=True)
    b = np.where(dot < 0, -b, b)
    angle = (
        np.arctan2(np.linalg.norm(a - b, axis=-1, keepdims=True), np.linalg.norm(a + b, axis=-1, keepdims=True)) * 2
    )
    small = angle < 1e-6
    sine = np.where(small, 1.0, np.sin(angle))
    first = np.where(small, 1 - share, np.sin((1 - share) * angle) / sine)
    second = np.where(small, share, np.sin(share * angle) / sine)
    return first * a + second * b


def _unit(quaternions: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    return np.where(length > 1e-9, quaternions / np.maximum(length, 1e-9), [0.0, 0, 0, 1])
