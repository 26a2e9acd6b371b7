"""The MANO hand as a character."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data.character.character import Character, CharacterHand
from data.character.flesh import mano_weights
from data.formats.skeleton import Skeleton, Skin
from data.rig.hand_map import HandMap, chains_between
from data.rig.rest import RestHand
from model.mano import ManoHand
from model.topology import (
    N_JOINTS,
    PARENTS,
    hand_joint_names,
)


def mano_character(model: ManoHand, shape: np.ndarray, path: Path) -> Character:
    """The MANO hand (or one of its layout) of a shape (10,), as a character with one hand."""
    side, betas = model.side, torch.from_numpy(np.asarray(shape, dtype=np.float32))
    joints = 100.0 * model.with_shape(betas).at_rest().joints.double().numpy()
    parents = np.array(PARENTS, np.int64)
    skeleton = Skeleton(hand_joint_names("mano", side), parents, joints)
    indices = tuple(range(N_JOINTS))
    hand = HandMap("mano", side, indices, "mano", chains_between(indices, parents))
    rest = RestHand(side, joints, np.ones(N_JOINTS, bool), np.zeros(N_JOINTS, bool), np.eye(3))
    made = CharacterHand("MANO", hand, rest, skeleton, model=model, shape=betas)
    return Character("MANO", path, "mano", {side: made})


def mano_skin(hand: CharacterHand) -> Skin:
    """The surface of a MANO hand at rest, wrist at the origin, with its skinning weights by hand joint."""
    vertices = 100.0 * hand.shaped.at_rest().vertices().double().numpy()
    if hand.model is None:
        raise ValueError(f"expected a MANO hand, found a {hand.side} hand of {hand.name}")
    return Skin(vertices, hand.model.faces.astype(np.int64), mano_weights(hand.model))
