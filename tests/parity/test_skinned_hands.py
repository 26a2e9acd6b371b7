"""Skinning of reference characters' hands, and of a generic tree."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import matrix_to_quaternion, quaternion_to_matrix

from data.character.reading import read_annotated
from model.hands import offset_hand
from model.skinning import linear_blend_skinning, skin_hand
from model.topology import SIDES
from tests.helpers import tensor


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "skinning.npz")


@pytest.mark.parametrize("side", SIDES)
def test_cutting_out_the_hand(reference, golden, agree, side):
    name = str(reference[f"{side}_character"])
    inputs = golden / "inputs"
    mesh = read_annotated(inputs / f"{name}_mesh_data.npz", inputs / f"{name}_finger_axis.npz").hand(side).surface
    assert np.array_equal(mesh.faces, reference[f"{side}_faces"])
    agree(mesh.vertices, reference[f"{side}_rest_verts"], 0.0, "skinning, vertices at rest f32")
    agree(mesh.weights, reference[f"{side}_weights"], 1e-6, "skinning, weights f32")
    agree(mesh.joints, reference[f"{side}_joint_positions"], 0.0, "skinning, joints at rest f32")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("side", SIDES)
def test_posed_hand(reference, golden, agree, side, dtype):
    """From twist-bend-splay rotations to the surface, through the character's own files."""
    name = str(reference[f"{side}_character"])
    inputs = golden / "inputs"
    character = read_annotated(inputs / f"{name}_mesh_data.npz", inputs / f"{name}_finger_axis.npz")
    own = character.hand(side)
    hand = offset_hand(tensor(own.rest.offsets, dtype), tensor(own.axes, dtype), side)
    posed = hand.with_tbs(quaternion_to_matrix(tensor(reference[f"{side}_bs"], dtype)))
    expected = quaternion_to_matrix(tensor(reference[f"{side}_hand_rotations"]))
    agree(posed.local_all, expected, 1e-5, "skinning, local rotations f32")
    assert (matrix_to_quaternion(posed.local_all)[..., 0].abs() <= 1).all()
    parts = (tensor(reference[f"{side}_{part}"], dtype) for part in ("rest_verts", "weights", "joint_positions"))
    surface = skin_hand(posed, *parts)
    agree(surface, reference[f"{side}_posed_verts_f32"], 1e-5, "skinning, posed vertices f32")


def test_generic_tree(reference, agree):
    """Batched rest meshes, joints and weights, any tree."""
    arrays = {name: reference[f"generic_{name}"] for name in ("parents", "quat", "joints", "verts", "weights")}
    local = quaternion_to_matrix(tensor(arrays["quat"]))
    rest = tensor(arrays["joints"])
    rotations, joints = [], []
    for joint, parent in enumerate(arrays["parents"].tolist()):
        if parent < 0:
            rotations.append(local[..., joint, :, :])
            joints.append(rest[..., joint, :])
        else:
            step = rest[..., joint, :] - rest[..., parent, :]
            joints.append(joints[parent] + (rotations[parent] @ step.unsqueeze(-1)).squeeze(-1))
            rotations.append(rotations[parent] @ local[..., joint, :, :])
    rotations, joints = torch.stack(rotations, -3), torch.stack(joints, -2)
    agree(joints, reference["generic_posed_joints"], 1e-9, "skinning, joints of any tree f64")
    verts, weights = tensor(arrays["verts"]), tensor(arrays["weights"])
    found = linear_blend_skinning(verts, weights, rest, rotations, joints)
    agree(found, reference["generic_posed_verts"], 1e-9, "skinning, vertices of any tree f64")
