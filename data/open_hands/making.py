"""From sampled bodies to the small assets that ship: characters, and a parametric hand in MANO's manner.

Both are made of the same sampled hands. Characters keep their own proportions and stand in a flat T-pose.
The parametric hand is a principal component analysis of such hands in one naturally curved and spread pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from data.open_hands import anatomy
from data.open_hands.bodies import BodyHands, HandSample, joints_with_tips, stretched
from data.open_hands.surface import anchor_hinges, fingertips, hinge_axes
from model.topology import MANO_BONES, N_FINGERS, N_SHAPE, THUMB

TRAINING_RANGE = (0.68, 0.90)
"""Mean finger-to-palm ratio (four fingers) of training, validation and inside test hands."""
SHORT_RANGE, LONG_RANGE = (0.55, 0.61), (0.97, 1.04)
"""The same of the outside test hands."""
WHOLE_RANGE = (0.52, 1.08)
PARAMETRIC_SAMPLES = 500
CHARACTER_RANK = 48
REGRESSOR_CANDIDATES = 60
REGRESSOR_SAMPLES = 60

# The parametric hand's rest pose: bends (5, 3) and root splays (5,) in degrees, middle, ring, pinky, index, thumb.
CURVED_BEND = [[14, 22, 12], [16, 24, 13], [18, 24, 13], [12, 20, 11], [18, 8, 12]]
CURVED_SPLAY = [0, -7, -15, 9, 6]


@dataclass(frozen=True)
class Groups:
    """How many hands each split gets."""

    train: int
    val: int
    inside: int
    long: int
    short: int

    def ranges(self) -> list[tuple[str, int, tuple[float, float]]]:
        """(split, number of hands, range of the finger-to-palm ratio), in the order of the assets."""
        return [
            ("train", self.train, TRAINING_RANGE),
            ("val", self.val, TRAINING_RANGE),
            ("inside", self.inside, TRAINING_RANGE),
            ("long", self.long, LONG_RANGE),
            ("short", self.short, SHORT_RANGE),
        ]


CHARACTERS = Groups(train=96, val=4, inside=2, long=2, short=2)
SUBJECTS = Groups(train=64, val=4, inside=2, long=2, short=2)


class HandMaker:
    """Samples hands of wanted proportions and brings them into wanted poses."""

    def __init__(self) -> None:
        self.bodies = BodyHands()
        self.mesh = self.bodies.mesh
        self._weights = torch.as_tensor(self.mesh.weights)
        average = self.bodies.average()
        heads = average.heads[1:].reshape(N_FINGERS, 3, 3)[:, 2]
        own = self.mesh.weights[:, 3::3]
        hinges = hinge_axes(average.vertices, self.mesh.faces, heads, own)
        self.tips = fingertips(average.vertices, heads, own, hinges)
        self.hinge_faces, self.hinge_weights = anchor_hinges(average.vertices, self.mesh.faces, heads, hinges)

    def sample(self, random: np.random.Generator, ratios: tuple[float, float]) -> HandSample:
        """A random hand whose mean finger-to-palm ratio lies in ``ratios``, in MakeHuman's relaxed pose."""
        goal = random.uniform(*ratios)
        while True:
            hand = self.bodies.sample(random)
            natural = self.ratio(hand)
            if not 0.8 < goal / natural < 1.25:
                continue
            lengths = np.exp(random.normal(0, 0.07, (N_FINGERS, 1)) + random.normal(0, 0.06, (N_FINGERS, 3)))
            lengths[:THUMB] *= goal / natural
            lengths[THUMB] *= (goal / natural) ** 0.5
            thickness = np.exp(random.normal(0, 0.05, N_FINGERS))
            palm = np.array([1.0, 1.0, np.exp(random.normal(0, 0.06))])
            hand = stretched(self.mesh, hand, lengths, thickness, palm)
            if ratios[0] <= self.ratio(hand) <= ratios[1]:
                return hand

    def ratio(self, hand: HandSample) -> float:
        """Mean finger-to-palm ratio of the four fingers."""
        joints = torch.as_tensor(joints_with_tips(hand, self.tips))
        return float(anatomy.finger_to_palm(joints)[:THUMB].mean())

    def posed(self, hand: HandSample, bend: torch.Tensor, splay: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The hand's vertices and 21 joints with the given bends ``(5, 3)`` and root splays ``(5,)``, radians."""
        vertices, joints = torch.as_tensor(hand.vertices), torch.as_tensor(joints_with_tips(hand, self.tips))
        tbs = anatomy.tbs_of(bend, splay)
        shaped = anatomy.hand_of(joints, self.bend_across(vertices))
        moved, joints = anatomy.reposed(vertices, joints, self._weights, shaped, tbs)
        return moved.numpy(), joints.numpy()

    def bend_across(self, vertices: torch.Tensor) -> torch.Tensor:
        """Bend directions ``(..., 5, 3)`` of hands with ``vertices (..., V, 3)``."""
        faces = torch.as_tensor(self.mesh.faces)
        return anatomy.bend_across(
            vertices, faces, torch.as_tensor(self.hinge_faces), torch.as_tensor(self.hinge_weights)
        )


def make_characters(maker: HandMaker, random: np.random.Generator, groups: Groups) -> dict[str, np.ndarray]:
    """Characters in a flat T-pose, each a little different: joints exactly, vertices as principal components."""
    vertices, joints, splits = [], [], []
    for split, count, ratios in groups.ranges():
        for _ in range(count):
            hand = maker.sample(random, ratios)
            bend = torch.as_tensor(np.radians(random.uniform(0, 5, (N_FINGERS, 3))))
            splay = torch.as_tensor(np.radians(random.uniform(-4, 4, N_FINGERS)))
            bend[THUMB, 0] = np.radians(random.uniform(0, 20))
            splay[THUMB] = np.radians(random.uniform(-10, 14))
            posed = maker.posed(hand, bend, splay)
            vertices.append(posed[0])
            joints.append(posed[1])
            splits.append(split)
    vertices = np.stack(vertices)
    mean = vertices.mean(0)
    rank = min(CHARACTER_RANK, len(vertices) - 1)
    left, scale, basis = np.linalg.svd((vertices - mean).reshape(len(vertices), -1), full_matrices=False)
    return {
        "character_split": np.array(splits),
        "character_joints": np.stack(joints).astype(np.float32),
        "character_mean": mean.astype(np.float32),
        "character_basis": basis[:rank].reshape(rank, -1, 3).astype(np.float16),
        "character_coefficients": (left[:, :rank] * scale[:rank]).astype(np.float32),
    }


def make_parametric_hand(maker: HandMaker, random: np.random.Generator, groups: Groups) -> dict[str, np.ndarray]:
    """The parametric hand (metres) and the shape components of the subjects."""
    bend, splay = torch.tensor(CURVED_BEND).double().deg2rad(), torch.tensor(CURVED_SPLAY).double().deg2rad()
    samples = [maker.posed(maker.sample(random, WHOLE_RANGE), bend, splay) for _ in range(PARAMETRIC_SAMPLES)]
    vertices = np.stack([v for v, _ in samples]) / 100
    joints = np.stack([j for _, j in samples]) / 100
    # Hands differ most in size, which says nothing about pose; MANO's first component is much the same.
    mean = vertices.mean(0)
    flat = (vertices - mean).reshape(len(vertices), -1)
    scale, basis = np.linalg.svd(flat, full_matrices=False)[1:]
    spread = scale[:N_SHAPE] / np.sqrt(len(flat) - 1)
    basis = basis[:N_SHAPE]
    betas, splits = [], []
    for split, count, ratios in groups.ranges():
        for _ in range(count):
            posed = maker.posed(maker.sample(random, ratios), bend, splay)[0] / 100
            betas.append(basis @ (posed - mean).ravel() / spread)
            splits.append(split)
    return {
        "mano_template": mean.astype(np.float32),
        "mano_shapedirs": (basis * spread[:, None]).reshape(N_SHAPE, -1, 3).transpose(1, 2, 0).astype(np.float32),
        "mano_regressor": _joint_regressor(maker.mesh.weights, mean, vertices, joints).astype(np.float32),
        "subject_split": np.array(splits),
        "subject_betas": np.stack(betas).astype(np.float32),
    }


def _joint_regressor(weights: np.ndarray, mean: np.ndarray, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Rows ``(16, V)`` in MANO's bone order: each joint as an average of a few vertices around it."""
    regressor = np.zeros((weights.shape[1], len(mean)))
    chosen = np.linspace(0, len(vertices) - 1, REGRESSOR_SAMPLES).astype(int)
    joint_numbers = [0, *(1 + 4 * f + k for f in range(N_FINGERS) for k in range(3))]
    for bone, joint in enumerate(joint_numbers):
        parent = 0 if bone == 0 or (bone - 1) % 3 == 0 else bone - 1
        around = np.flatnonzero(weights[:, bone] + weights[:, parent] > 0.3)  # so that they surround the joint
        distance = np.linalg.norm(mean[around] - joints[:, joint].mean(0), axis=1)
        around = around[np.argsort(distance)[:REGRESSOR_CANDIDATES]]
        columns = vertices[chosen][:, around].transpose(0, 2, 1).reshape(-1, len(around))
        goal = joints[chosen, joint].ravel()
        heavy = 1.0  # metres: a sum off by one would be a metre wrong
        solution, _ = nnls(np.vstack([columns, np.full((1, len(around)), heavy)]), np.append(goal, heavy))
        row = 0 if bone == 0 else MANO_BONES[bone - 1]
        regressor[row, around] = solution / solution.sum()
    return regressor


def make_assets(seed: int, characters: Groups = CHARACTERS, subjects: Groups = SUBJECTS) -> dict[str, np.ndarray]:
    """All arrays of the asset file; see `data.open_hands.library` for their meaning."""
    maker = HandMaker()
    rows, columns = np.nonzero(maker.mesh.weights > 1e-4)
    shared = {
        "faces": maker.mesh.faces.astype(np.uint16),
        "skin_vertices": rows.astype(np.uint16),
        "skin_bones": columns.astype(np.uint8),
        "skin_weights": maker.mesh.weights[rows, columns].astype(np.float32),
        "tips": maker.tips.astype(np.uint16),
        "hinge_faces": maker.hinge_faces.astype(np.uint16),
        "hinge_weights": maker.hinge_weights.astype(np.float32),
        "seed": np.array(seed),
    }
    character_seed, subject_seed = np.random.SeedSequence(seed).spawn(2)
    parametric = make_parametric_hand(maker, np.random.default_rng(subject_seed), subjects)
    regressor = parametric.pop("mano_regressor")
    rows, columns = np.nonzero(regressor)
    parametric |= {
        "regressor_joints": rows.astype(np.uint8),
        "regressor_vertices": columns.astype(np.uint16),
        "regressor_weights": regressor[rows, columns],
    }
    return shared | make_characters(maker, np.random.default_rng(character_seed), characters) | parametric
