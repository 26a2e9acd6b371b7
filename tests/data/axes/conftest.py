"""Hands of MixHand-Open as mesh files, whole or with parts missing, upright or turned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.axes.hand import BareHand
from data.character.reading import read_mesh_character
from data.open_hands.library import OpenHands, mirrored
from model.topology import BONES_PER_FINGER, N_JOINTS, PARENTS, hand_joint_names


@pytest.fixture(scope="session")
def open_hands() -> OpenHands:
    """The embedded hands."""
    return OpenHands.load()


def mesh_arrays(hands: OpenHands, name: str, side: str = "right", turn: np.ndarray | None = None) -> dict:
    """The arrays of the mesh file of one hand of a character, turned by ``turn (3, 3)`` about the origin."""
    vertices, joints, faces = hands.character_vertices(name), hands.character_joints(name), hands.faces
    if side == "left":
        vertices, joints, faces = mirrored(vertices), mirrored(joints), faces[:, ::-1]
    turn = np.eye(3) if turn is None else turn
    weight = np.zeros((len(vertices), N_JOINTS), np.float32)
    weight[:, [0, *(1 + 4 * f + k for f in range(5) for k in range(BONES_PER_FINGER))]] = hands.weights
    heads = (joints @ turn.T).astype(np.float32)
    labels = np.array(["mixamorig:" + joint for joint in hand_joint_names("mixamo", side)])
    parents = np.array(PARENTS, np.int64)
    return {
        "verts": (vertices @ turn.T).astype(np.float32), "faces": faces, "weight": weight,
        "vgrp_label": labels, "vgrp_cors": heads, "vgrp_parents": parents,
        "bone_names": labels, "bone_cors": heads, "bone_parents": parents,
    }  # fmt: skip


@pytest.fixture
def write_mesh(open_hands, tmp_path) -> Callable[..., Path]:
    """``write_mesh(name, side, turn, **changed)``: write a mesh file, some arrays changed; returns its path."""

    def write(name: str = "Hand05", side: str = "right", turn: np.ndarray | None = None, **changed) -> Path:
        path = tmp_path / "finger_data" / f"{name}_mesh_data.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **{**mesh_arrays(open_hands, name, side, turn), **changed})
        return path

    return write


@pytest.fixture
def rest_hand(write_mesh) -> Callable[..., BareHand]:
    """``rest_hand(name, side, turn, **changed)``: the hand of such a mesh file."""

    def make(name: str = "Hand05", side: str = "right", turn: np.ndarray | None = None, **changed) -> BareHand:
        return read_mesh_character(write_mesh(name, side, turn, **changed)).hand(side).bare

    return make
