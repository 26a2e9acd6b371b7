"""What every converter of characters makes: a skeleton, its skin and its motions, and the files made of them.

Everything here is in the character's frame: centimetres, y up, facing +z, the character's left at +x. The scripts
that run inside Blender use this module too, and Blender's own Python may be as old as 3.7 and has only NumPy: so the
module imports nothing else, and its syntax is that of Python 3.7 (a test sees to it).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from data.formats.bvh import CHANNEL_NAMES, Bvh, euler_from_rotations
from utils.errors import InputError
from utils.files import atomic_write

MESH_END = "_mesh_data.npz"
"""How the name of a character's mesh file ends."""
ORDER = "XYZ"
"""Rotation channels of every joint: R = Rx Ry Rz."""
TALLEST_CM, SMALLEST_CM = 1000.0, 5.0
"""A figure outside these bounds is most likely in another unit than its file says."""
_FAR_CM = 1e9
"""Numbers beyond are damage; squares of numbers below it are far from the end of double precision."""
_CHUNK = 512
"""Frames handled at once."""
_SHARED = 0.2
"""A vertex that two bones share at least this much each lies where the two meet."""
_OWN = 0.5
"""A bone owns the vertices of which it has at least this share."""
_NEAR_THE_END = 0.9
"""Vertices beyond this share of the farthest one's distance make up the end of a bone's skin."""
_STUB = 0.1
"""Skin that reaches no further than this share of the bone before tells no end."""
SHARE = 0.85
"""Length of a last bone of which nothing tells the end, in lengths of the one before it."""
_SAME = 1e-6
"""Centimetres below which two places are one."""
_PLACES = 1e-4
"""Centimetres and shares of weight below which two vertices are the same one."""
_SQUARE = 1e-9
_FLAT = 1e-9


@dataclass(frozen=True)
class Skeleton:
    """The bones of a character at rest."""

    names: tuple
    """J different names."""
    parents: np.ndarray
    """(J,) int64, −1 for a root; every bone after its parent."""
    heads: np.ndarray
    """(J, 3) float64 centimetres in the character's frame."""
    tails: np.ndarray | None = None
    """(J, 3) centimetres, where each bone ends as far as the file tells; NaN where it does not. None: nowhere."""
    bases: np.ndarray | None = None
    """(J, 3, 3), columns: each bone's own x, y and z axis at rest. They may have any length and sign, because poses
    are compared with the rest pose as they are. None: the file does not tell."""
    human: Mapping[str, int] = field(default_factory=dict)
    """Bone of a human in VRM's words (``hips``, ``leftUpperLeg``) → its number, where the file has a table of them."""

    @staticmethod
    def of_rest(names: Sequence[str], parents: np.ndarray, rest: np.ndarray) -> Skeleton:
        """The skeleton of rest transforms (J, 4, 4): bone axes in the columns, head in centimetres."""
        return Skeleton(tuple(names), parents, rest[:, :3, 3], None, rest[:, :3, :3])

    @property
    def rest(self) -> np.ndarray:
        """(J, 4, 4) rest transforms."""
        rest = np.tile(np.eye(4), (len(self.heads), 1, 1))
        rest[:, :3, 3] = self.heads
        if self.bases is not None:
            rest[:, :3, :3] = self.bases
        return rest

    @property
    def axes(self) -> np.ndarray | None:
        """(J, 3, 3): rows are the bone's own x, y, z axes, of unit length and at right angles."""
        return None if self.bases is None else np.swapaxes(nearest_rotations(self.bases), -1, -2)

    @property
    def offsets(self) -> np.ndarray:
        """(J, 3) centimetres: head minus the parent's head; a root's own head."""
        return self.heads - np.where(self.parents[:, None] >= 0, self.heads[self.parents], 0.0)

    def scaled(self, factor: float) -> Skeleton:
        """All lengths multiplied."""
        tails = None if self.tails is None else factor * self.tails
        return self if factor == 1 else replace(self, heads=factor * self.heads, tails=tails)


@dataclass(frozen=True)
class Skin:
    """Meshes that hang on a skeleton, at rest."""

    vertices: np.ndarray
    """(V, 3) float64, centimetres."""
    faces: np.ndarray
    """(F, 3) int64, triangles."""
    weights: np.ndarray
    """(V, J) float32; rows sum to 1, or are 0 where no bone moves the vertex."""

    def scaled(self, factor: float) -> Skin:
        """All lengths multiplied."""
        return self if factor == 1 else replace(self, vertices=factor * self.vertices)


def merged(skins: Sequence[Skin], n_bones: int) -> Skin:
    """All skins of a character as one; weights are scaled to sum 1."""
    starts = np.cumsum([0] + [len(skin.vertices) for skin in skins])
    weights = np.concatenate([np.zeros((0, n_bones), np.float32)] + [skin.weights for skin in skins])
    total = weights.sum(axis=1, keepdims=True)
    return Skin(
        vertices=np.concatenate([np.zeros((0, 3))] + [skin.vertices for skin in skins]),
        faces=np.concatenate(
            [np.zeros((0, 3), np.int64)] + [skin.faces + start for skin, start in zip(skins, starts)]  # noqa: B905
        ),
        weights=np.divide(weights, total, out=weights, where=total > 0),
    )


def welded(skin: Skin) -> Skin:
    """The same skin with vertices of equal place and equal weights made one, and faces that vanish left out.

    glTF has a vertex once for each normal and texture coordinate, so its surfaces fall apart along seams.
    """
    strongest = (
        np.argsort(-skin.weights, axis=1, kind="stable")[:, :4]
        if skin.weights.shape[1]
        else np.zeros((0, 0), np.int64)
    )
    shares = np.take_along_axis(skin.weights, strongest, axis=1) if strongest.size else skin.weights
    strongest = np.where(shares > _PLACES, strongest, -1) if strongest.size else shares
    keys = np.concatenate([np.rint(skin.vertices / _PLACES), np.rint(shares / _PLACES), strongest], axis=1)
    _, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # keep the order of the file
    place = np.argsort(order)
    faces = place[number.reshape(-1)][skin.faces]
    full = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    kept = first[order]
    return Skin(skin.vertices[kept], faces[full], skin.weights[kept])


def nearest_rotations(matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 3) linear maps → the nearest rotations; scale and shear are gone, a mirrored map is negated first."""
    matrices = np.asarray(matrices, dtype=np.float64)
    length = np.linalg.norm(matrices, axis=-2, keepdims=True)
    result = matrices / np.maximum(length, 1e-300)
    result = np.where(np.linalg.det(result)[..., None, None] < 0, -result, result)
    error = np.abs(np.swapaxes(result, -1, -2) @ result - np.eye(3)).max(axis=(-1, -2))
    skewed = error > _SQUARE
    if skewed.any():
        u, _, v = np.linalg.svd(result[skewed])
        u[..., 2] *= np.linalg.det(u @ v)[..., None]
        result[skewed] = u @ v
    return result


def bone_end(skeleton: Skeleton, bone: int, skin: Skin | None = None) -> np.ndarray | None:
    """Where a bone ends, (3,) centimetres; None if nothing tells.

    It ends at its own tail, if the file has one. Else a bone with a child ends where the child begins, and one with
    several at the child that lies best along its own axis. Else it ends where the skin does of which it has the
    greater part: towards the vertices that are farthest from its head, as far as the farthest.
    """
    head = skeleton.heads[bone]
    if skeleton.tails is not None and np.linalg.norm(skeleton.tails[bone] - head) > _SAME:  # false for NaN
        return skeleton.tails[bone]
    children = np.flatnonzero(skeleton.parents == bone)
    ways = skeleton.heads[children] - head
    far = np.linalg.norm(ways, axis=1)
    if (far > _SAME).any():
        along = far
        if len(children) > 1 and skeleton.bases is not None:
            axes = nearest_rotations(skeleton.bases[bone]).T
            along = np.abs(ways @ axes.T).max(axis=1) / np.maximum(far, 1e-12)
        return skeleton.heads[children[along.argmax()]]
    if skin is None:
        return None
    reach = skin.vertices[skin.weights[:, bone] >= _OWN] - head
    far = np.linalg.norm(reach, axis=1)
    if not far.size or far.max() <= _STUB * np.linalg.norm(_way(skeleton, bone)):
        return None
    direction = reach[far >= _NEAR_THE_END * far.max()].mean(axis=0)
    length = np.linalg.norm(direction)
    return None if length == 0 else head + direction / length * far.max()


def bone_tails(skeleton: Skeleton, skin: Skin | None = None) -> np.ndarray:
    """Where each bone ends, (J, 3) centimetres: `bone_end`, or `SHARE` of the bone before it onwards."""
    ends = [bone_end(skeleton, bone, skin) for bone in range(len(skeleton.parents))]
    onward = [skeleton.heads[bone] + SHARE * _way(skeleton, bone) for bone in range(len(ends))]
    return np.array([on if end is None else end for end, on in zip(ends, onward)]).reshape(-1, 3)  # noqa: B905


def _way(skeleton: Skeleton, bone: int) -> np.ndarray:
    """(3,) from the head of the bone before to this one's; of a root, its own y axis."""
    parent = skeleton.parents[bone]
    way = skeleton.heads[bone] - skeleton.heads[parent if parent >= 0 else bone]
    return way if np.linalg.norm(way) > _SAME else nearest_rotations(skeleton.rest[bone, :3, :3])[:, 1]


def centred(skeleton: Skeleton, skin: Skin) -> Skeleton:
    """The skeleton with its joints moved into the middle of the skin that bends at them (``adjust_bone``).

    A joint is moved to the centre of the vertices that its bone shares with its parent's, at right angles to its
    bone only: along the bone the crease of the skin says little. (The way of a bone without child is taken to be that
    axis of its own that is closest to the way before.) Joints whose skin nothing shares stay. Rotations do not change.
    """
    heads, tails, axes = skeleton.heads.copy(), bone_tails(skeleton), skeleton.axes
    assert axes is not None  # what is converted has them
    for leaf in np.setdiff1d(np.arange(len(heads)), skeleton.parents):
        along = np.abs(axes[leaf] @ _way(skeleton, leaf))
        tails[leaf] = heads[leaf] + along.max() * axes[leaf, along.argmax()]
    for bone, parent in enumerate(skeleton.parents):
        if parent < 0:
            continue
        ring = np.minimum(skin.weights[:, bone], skin.weights[:, parent]) >= _SHARED
        way = tails[bone] - skeleton.heads[bone]
        length = np.linalg.norm(way)
        if ring.sum() < 6 or length < _FLAT:
            continue
        middle = (skin.vertices[ring].min(axis=0) + skin.vertices[ring].max(axis=0)) / 2 - skeleton.heads[bone]
        heads[bone] += middle - (middle @ way) / length**2 * way
    return replace(skeleton, heads=heads)


def motion(
    skeleton: Skeleton,
    pose: Callable[[int, int], np.ndarray],
    n_frames: int,
    frame_time: float,
    skin: Skin | None = None,
) -> Bvh:
    """A motion as BVH: local rotations relative to the rest pose, with identity rest orientation.

    With rest transform R_j and posed transform G_j of joint j in the character's frame, D_j = G_j R_j⁻¹ and the local
    rotation is F_j = D_parentᵀ D_j: what Blender's exporter writes too. Roots have positions, those of their heads.

    Args:
        skeleton: J bones.
        pose: (first, last) frame numbers → (last − first, J, 4, 4) posed transforms in the character's frame, cm.
        n_frames: number of frames.
        frame_time: seconds.
        skin: for the length of the last bones (`bone_tails`), written as End Sites.

    Raises:
        InputError: a pose is not finite.
    """
    parents = skeleton.parents
    inverse = np.linalg.inv(usable(skeleton.rest)[:, :3, :3])
    angles = np.empty((n_frames, len(parents), 3))
    positions = np.empty((n_frames, len(parents), 3))
    for first in range(0, n_frames, _CHUNK):
        last = min(first + _CHUNK, n_frames)
        posed = np.asarray(pose(first, last), dtype=np.float64)
        good = (np.abs(posed) < _FAR_CM).all(axis=(-1, -2))
        if not good.all():
            frame, joint = np.argwhere(~good)[0]
            raise _not_finite(skeleton, first + frame, joint)
        turned = nearest_rotations(posed[..., :3, :3] @ inverse)
        above = np.where((parents >= 0)[:, None, None], turned[:, parents], np.eye(3))
        local = np.swapaxes(above, -1, -2) @ turned
        angles[first:last] = np.degrees(euler_from_rotations(local, ORDER))
        positions[first:last] = posed[..., :3, 3]
    return as_bvh(skeleton, angles, positions, frame_time, skin)


def as_bvh(
    skeleton: Skeleton, angles: np.ndarray, positions: np.ndarray, frame_time: float, skin: Skin | None = None
) -> Bvh:
    """The BVH of Euler angles (F, J, 3) in degrees, in the order `ORDER`, and positions (F, J, 3) in centimetres, of
    which those of roots are used.

    Raises:
        InputError: a number is not finite.
    """
    parents = skeleton.parents
    turns = tuple(axis + "rotation" for axis in ORDER)
    columns, channels = [], []
    for joint, parent in enumerate(parents):
        columns += [positions[:, joint]] if parent < 0 else []
        columns.append(angles[:, joint])
        channels.append((CHANNEL_NAMES[:3] if parent < 0 else ()) + turns)
        if not np.isfinite(columns[-1]).all():
            raise _not_finite(skeleton, np.argwhere(~np.isfinite(columns[-1]))[0][0], joint)
    ends = bone_tails(skeleton, skin) - skeleton.heads
    leaves = np.setdiff1d(np.arange(len(parents)), parents)
    return Bvh(
        joint_names=tuple(skeleton.names),
        parents=parents,
        offsets=skeleton.offsets,
        channels=tuple(channels),
        values=np.concatenate(columns, axis=1),
        frame_time=frame_time,
        end_sites=tuple((int(leaf), tuple(ends[leaf].tolist())) for leaf in leaves),
    )


def _not_finite(skeleton: Skeleton, frame: int, joint: int) -> InputError:
    return InputError(
        f"motion: expected finite poses, found NaN, infinity or nearly so in frame {frame}, "
        f"joint {skeleton.names[joint]}; export it again"
    )


def bvh_skeleton(bvh: Bvh) -> Skeleton:
    """The skeleton of a BVH file in its rest pose, in which all rotations are zero; End Sites are tails."""
    heads, tails = np.array(bvh.offsets, dtype=np.float64), np.full((len(bvh.parents), 3), np.nan)
    for joint, parent in enumerate(bvh.parents):  # every joint stands after its parent
        if parent >= 0:
            heads[joint] += heads[parent]
    for joint, end in bvh.end_sites:
        tails[joint] = heads[joint] + end
    return Skeleton(bvh.joint_names, bvh.parents, heads, tails)


def usable(rest: np.ndarray) -> np.ndarray:
    """(J, 4, 4) rest transforms with the identity for bones that are scaled to nothing in a direction."""
    rest = rest.copy()
    length = np.linalg.norm(rest[:, :3, :3], axis=1).prod(axis=1)
    flat = ~(np.abs(np.linalg.det(rest[:, :3, :3])) > 1e-6 * length)
    rest[flat, :3, :3] = np.eye(3)
    return rest


def mesh_arrays(skeleton: Skeleton, skin: Skin) -> dict:
    """The arrays of a mesh file (mathematics §5), with the further keys ``bone_tails`` and ``bone_axes``.

    Raises:
        InputError: a number is not finite.
    """
    axes = skeleton.axes
    assert axes is not None  # what is converted has them
    arrays = {
        "verts": skin.vertices.astype(np.float32),
        "edges": edges_of(skin.faces),
        "faces": skin.faces.astype(np.int64),
        "weight": skin.weights.astype(np.float32),
        "bone_tails": bone_tails(skeleton, skin).astype(np.float32),
        "bone_axes": axes.astype(np.float32),
    }
    for prefix, names in (("vgrp", "vgrp_label"), ("bone", "bone_names")):
        arrays[names] = np.array(skeleton.names, dtype=np.str_)
        arrays[prefix + "_cors"] = skeleton.heads.astype(np.float32)
        arrays[prefix + "_parents"] = skeleton.parents.astype(np.int64)
    for key, value in arrays.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError(f"mesh: expected finite numbers in {key}, found NaN or infinity; export the file again")
    return arrays


def write_mesh(path: str | os.PathLike, skeleton: Skeleton, skin: Skin) -> None:
    """Write a character's mesh file, complete or not at all."""
    arrays = mesh_arrays(skeleton, skin)
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def edges_of(faces: np.ndarray) -> np.ndarray:
    """(F, 3) triangles → (E, 2) int64 edges, each once, the smaller number first."""
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return np.unique(pairs.astype(np.int64), axis=0)


def size_warning(skeleton: Skeleton, skin: Skin | None) -> str | None:
    """One sentence where the figure is so big or small that its file must be in another unit."""
    points = skeleton.heads if skin is None or not len(skin.vertices) else skin.vertices
    size = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    if SMALLEST_CM <= size <= TALLEST_CM:
        return None
    return f"it measures {size:.3g} cm; the unit in the file is probably wrong (features do not depend on it)"


def unique_names(names: Sequence[str]) -> tuple:
    """Names that can be written and differ: unprintable characters become _, doubles get .001, .002 …"""
    taken, result = set(), []
    for number, name in enumerate(names):
        clean = "".join(c if c.isprintable() else "_" for c in str(name)).strip() or f"joint_{number}"
        clean, tail = clean[:200], 0
        candidate = clean
        while candidate in taken:
            tail += 1
            candidate = f"{clean}.{tail:03d}"
        taken.add(candidate)
        result.append(candidate)
    return tuple(result)


def file_name(name: str, fallback: str = "clip") -> str:
    """A name that is one plain component of a path on every system."""
    clean = re.sub(r"[^\w .()+-]", "_", name).strip(" .")[:100]
    return clean if clean and clean.upper() not in ("CON", "PRN", "AUX", "NUL") else fallback
