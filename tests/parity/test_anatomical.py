"""Anatomical penalties of reference rotations, and their gradients.

The keys `…_largest_positive_f64` belong to an older pytorch3d, whose quaternions had another sign (mathematics §6.1);
ours have w ≥ 0, as the other keys have.
"""

import re
from math import acos, pi, sin

import numpy as np
import pytest
import torch
from pytorch3d.transforms import quaternion_to_matrix, rotation_6d_to_matrix

from model.losses import AnatomicalLoss
from tests.helpers import tensor

PRECISIONS = {"f64": (torch.float64, 1e-9), "f32": (torch.float32, 1e-5)}
ULP = {torch.float64: 1e-15, torch.float32: 1e-7}
"""What rounding does to an input. See `spread`: near singular angles it does much more to the penalties."""
FLOOR = {torch.float64: 1e-9, torch.float32: 1e-6}
"""Penalties under this are squares of what the precision can hardly tell from nothing."""
DECODE = {"6d": rotation_6d_to_matrix, "quat": quaternion_to_matrix}
KEY = re.compile(r"(?P<case>\w+)_(?P<method>tbs|dm)_(?P<kind>euler|axis)_(?P<form>6d|quat)_(?P<suffix>f64|f32)")


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "anatomical.npz")


def entries(reference, *kinds):
    """(key, its parts, input array) of all penalties of these kinds."""
    for key in reference.files:
        parts = KEY.fullmatch(key)
        if parts and parts["kind"] in kinds:
            yield key, parts, reference[f"{parts['case']}_in_{parts['form']}"]


def penalties(parts, array, dtype):
    """The three penalties and the gradient of their sum with respect to the input."""
    raw = tensor(array, dtype).requires_grad_()
    loss = AnatomicalLoss(parts["kind"], "asrn" if parts["method"] == "tbs" else "dm")
    terms = torch.stack(loss(DECODE[parts["form"]](raw)))
    (gradient,) = torch.autograd.grad(terms.sum(), raw)
    return terms.detach(), gradient


def spread(parts, array, dtype):
    """Relative changes of the three penalties, and of the gradient's norm, when the input is rounded otherwise.

    All in double precision: the largest of four random changes by as much as the precision ``dtype`` can tell.
    """
    generator = np.random.default_rng(0)
    changed = [array * (1 + ULP[dtype] * generator.standard_normal(array.shape)) for _ in range(4)]
    (terms, gradient), *others = (penalties(parts, each, torch.float64) for each in (array, *changed))
    of_terms = torch.stack([(other - terms).abs() / (terms + FLOOR[dtype]) for other, _ in others]).amax(0)
    norm = gradient.norm()
    return of_terms.numpy(), max(float((other.norm() - norm).abs() / norm.clamp_min(1e-300)) for _, other in others)


@pytest.mark.parametrize("kind", ["euler", "axis"])
def test_penalties(reference, agree, kind):
    compared = 0
    for _, parts, array in entries(reference, kind):
        expected = reference[parts.string]
        if np.isnan(expected).any():
            continue  # see the tests below
        dtype, tolerance = PRECISIONS[parts["suffix"]]
        terms, _ = penalties(parts, array, dtype)
        for number, change in enumerate(spread(parts, array, dtype)[0]):  # each on its own scale
            group = f"anatomical, {kind} {parts['suffix']}" + " near gimbal lock" * ("gimbal" in parts["case"])
            allowed = tolerance + 10 * change
            agree(terms[number] + FLOOR[dtype], expected[number] + FLOOR[dtype], allowed, group)
        compared += 1
    assert compared


@pytest.mark.parametrize("kind", ["euler", "axis"])
def test_gradients(reference, agree, kind):
    """In double precision; the reference has no other. Where its norm is NaN, ours is finite (see below)."""
    compared = 0
    for key, parts, array in entries(reference, kind):
        if parts["suffix"] == "f32":
            continue
        expected = reference[key.removesuffix("f64") + "grad_norm_f64"]
        _, gradient = penalties(parts, array, torch.float64)
        assert gradient.isfinite().all(), key
        if np.isfinite(expected):
            allowed = 1e-9 + 10 * spread(parts, array, torch.float64)[1]
            agree(gradient.norm(), expected, allowed, f"anatomical, gradient {kind} f64")
            compared += 1
    assert compared


def test_single_precision_gradients(reference):
    """They are finite in every case, and agree with double precision away from the singular ones."""
    for key, parts, array in entries(reference, "euler", "axis"):
        if parts["suffix"] == "f64":
            continue
        _, gradient = penalties(parts, array, torch.float32)
        assert gradient.isfinite().all(), key
        if parts["case"] in ("generic", "within_limits", "any_rotation"):
            _, exact = penalties(parts, array, torch.float64)
            allowed = 1e-4 + 10 * spread(parts, array, torch.float32)[1]
            assert gradient.norm().item() == pytest.approx(exact.norm().item(), rel=allowed), key


def test_an_exact_identity_has_no_axis_penalty(reference, agree):
    """The reference gives NaN where one joint does not turn: it has no axis. Ours leaves the joint out."""
    seen = 0
    for key, parts, array in entries(reference, "axis"):
        if not np.isnan(reference[key]).any():
            continue
        dtype, tolerance = PRECISIONS[parts["suffix"]]
        raw = tensor(array, dtype)
        rotations = DECODE[parts["form"]](raw).double().numpy()
        still = (rotations == np.eye(3)).all(axis=(-1, -2))
        assert still.any(), key
        terms, gradient = penalties(parts, array, dtype)
        assert gradient.isfinite().all() and gradient[torch.from_numpy(still)].abs().max() == 0
        expected = plain_axis_penalties(rotations, parts["method"])
        agree(terms, expected, tolerance, f"anatomical, exact identity {parts['suffix']}")
        seen += 1
    assert seen


def plain_axis_penalties(rotations: np.ndarray, method: str) -> np.ndarray:
    """The axis penalties joint by joint, straight from mathematics §6.1; joints that do not turn count nothing."""
    total = np.zeros(3)
    frames = rotations.reshape(-1, 5, 3, 3, 3)
    narrow, wide = [sin(angle * pi / 180) for angle in (5, 10, 20)], sin(pi / 3)
    for frame in frames:
        for finger, joint in np.ndindex(5, 3):
            turn = frame[finger, joint]
            vector = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
            if (turn == np.eye(3)).all():
                continue
            angle = acos(max(-1.0, min(1.0, (np.trace(turn) - 1) / 2)))
            x, y, z = vector / np.linalg.norm(vector)
            off = (abs(x), abs(z), 1 - y)  # twist, splay, bend
            for term, value in enumerate(off):
                if joint:
                    total[term] += value**2
                if method == "dm" or (joint == 0 and finger != 4):
                    total[term] += max(value - narrow[term], 0) ** 2
                if (finger, joint) == (4, 0):
                    total[term] += max(value - wide, 0) ** 2
            total[2] += max(angle - pi / 2, 0) ** 2
    return total / len(frames)


def test_euler_penalties_are_finite_where_the_reference_is_not(reference):
    """A bend of −90° has an infinite slope, and rounding below it gave NaN; ours stops there."""
    for key, parts, array in entries(reference, "euler"):
        terms, gradient = penalties(parts, array, PRECISIONS[parts["suffix"]][0])
        assert terms.isfinite().all() and gradient.isfinite().all(), key
