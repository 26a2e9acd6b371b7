"""What the program handles: a character with its hands, whatever file it came from (mathematics §5, §8).

Lengths are centimetres. At rest the right hand points to −x, the back of the hand to +y, the thumb side to +z; the
hands of a character that stands otherwise (an A-pose, arms down) are turned so, by `RestHand.turn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.axes.estimate import HandEstimate, estimate_axes
from data.axes.hand import BareHand
from data.character.flesh import fit_flesh, mano_surface, skin_points
from data.character.skin_gaps import SkinGaps
from data.formats.skeleton import Skeleton, Skin
from data.rig import HandMap, RigMap, find_hands
from data.rig.handedness import side_of
from data.rig.rest import RestHand, rest_hand, turned
from data.rig.surface import HandSurface, hand_surface
from model.flesh import Flesh, flesh_of_radii
from model.hands import ShapedHand, offset_hand
from model.mano import ManoHand
from model.skin import SkinPoints
from model.topology import N_JOINTS
from utils.errors import InputError


@dataclass(frozen=True)
class CharacterHand:
    """One hand of a character, ready to take poses. What takes work is worked out when it is first asked for."""

    name: str
    """Of the character."""
    map: HandMap
    """Which joints of the skeleton it is."""
    rest: RestHand
    skeleton: Skeleton
    """That it hangs on: the same one for both hands of a character."""
    skin: Skin | None = None
    """Of the whole character."""
    given_axes: np.ndarray | None = None
    """(5, 4, 3, 3) rows twist, bend, splay in the character's frame, as its file has them; None: to be estimated."""
    model: ManoHand | None = None
    """Of a parametric hand."""
    shape: Tensor | None = None
    """(10,) of a parametric hand."""

    @property
    def domain(self) -> str:
        """``"mixamo"``: driven by bone offsets (centimetres); ``"mano"``: by a shape (metres)."""
        return "mixamo" if self.model is None else "mano"

    @property
    def side(self) -> str:
        """``"right"`` or ``"left"``."""
        return self.rest.side

    @property
    def present(self) -> np.ndarray:
        """(21,) bool: joints that the hand has."""
        return self.rest.present

    @property
    def missing(self) -> tuple[int, ...]:
        """The joints (hand order) that it does not have."""
        return tuple(np.flatnonzero(~self.present).tolist())

    @cached_property
    def surface(self) -> HandSurface | None:
        """Its part of the skin; None if the character has no skin that follows this hand."""
        return None if self.skin is None else hand_surface(self.skin, self.skeleton.parents, self.map, self.rest)

    @cached_property
    def whole_skin(self) -> HandSurface | None:
        """`surface`, or the skin of a MANO hand in its shape; None if nothing of it has faces."""
        if self.model is not None and self.shape is not None:
            return mano_surface(self.model, self.shape)
        return self.surface if self.surface is not None and len(self.surface.faces) else None

    @cached_property
    def flesh(self) -> Flesh:
        """Fitted to its skin; without one, that of adult hands about its bones. In palm lengths, float32."""
        if self.whole_skin is None:
            return flesh_of_radii(self.shaped.offsets)
        return fit_flesh(self.whole_skin, self.shaped.axes.double().numpy())

    @cached_property
    def skin_points(self) -> SkinPoints | None:
        """Points of its skin; None without skin."""
        return None if self.whole_skin is None else skin_points(self.whole_skin, self.flesh)

    @cached_property
    def skin_gaps(self) -> SkinGaps | None:
        """What measures its skin; None without skin."""
        return None if self.whole_skin is None else SkinGaps(self.whole_skin)

    @cached_property
    def bare(self) -> BareHand:
        """The hand that axes are estimated for, in the character's frame."""
        listed = self.map.listed
        bones = self.map.in_file(listed)
        skin = self.skin or Skin(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, len(self.skeleton.heads))))
        weights = np.zeros((len(skin.vertices), N_JOINTS))
        weights[:, listed] = skin.weights[:, bones]
        follows = np.any(weights > 0, axis=1)
        axes = self.skeleton.axes
        if axes is not None:
            bone_axes = np.full((N_JOINTS, 3, 3), np.nan)
            bone_axes[listed] = axes[bones]
            axes = bone_axes
        cut = self.surface or HandSurface(np.zeros((0, 3)), skin.faces[:0], weights[:0], self.rest.joints)
        return BareHand(
            name=self.name,
            side=self.side,
            joints=np.where(self.present[:, None], self.rest.positions, np.nan),
            whole=self.rest.positions,
            vertices=skin.vertices,
            faces=skin.faces[follows[skin.faces].all(axis=1)],
            weights=weights,
            # Axes belong to the character's own frame; the skin is cut out in the frame of features.
            skin=HandSurface(cut.vertices @ self.rest.turn, cut.faces, cut.weights, self.rest.positions),
            bone_axes=axes,
        )

    @cached_property
    def estimate(self) -> HandEstimate:
        """Its axes from all evidence, and how sure they are."""
        return estimate_axes(self.bare)

    @cached_property
    def axes(self) -> np.ndarray:
        """(5, 4, 3, 3) float64 anatomical axes in the frame of features: those of its file, or estimated."""
        axes = self.estimate.axes if self.given_axes is None else self.given_axes
        return turned(axes, self.rest.turn)

    @cached_property
    def shaped(self) -> ShapedHand:
        """float32, without leading dimensions, in the frame of features. Joints that a character's hand lacks are
        made up: networks are shown a whole hand."""
        if self.model is not None and self.shape is not None:
            return self.model.with_shape(self.shape)
        return offset_hand(_float32(self.rest.whole_offsets), _float32(self.axes), self.side)

    @property
    def masked(self) -> ShapedHand:
        """A character's hand as rows of features know it: of joints that it lacks, they have zeros."""
        present = None if self.rest.complete else torch.from_numpy(self.present)
        return offset_hand(_float32(self.rest.offsets), _float32(self.axes), self.side, present)


@dataclass(frozen=True)
class Character:
    """A character, a bare skeleton or a MANO hand."""

    name: str
    path: Path
    """The file it comes from."""
    kind: str
    """``"character"``, ``"skeleton"`` (no skin) or ``"mano"``."""
    hands: Mapping[str, CharacterHand]
    """Side → hand, right before left."""

    @property
    def sides(self) -> tuple[str, ...]:
        """The hands it has, right before left."""
        return tuple(self.hands)

    @property
    def skeleton(self) -> Skeleton:
        """That its hands hang on (each MANO hand has its own: this is the first one's)."""
        return next(iter(self.hands.values())).skeleton

    @property
    def skin(self) -> Skin | None:
        """Of the whole character."""
        return next(iter(self.hands.values())).skin

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Sides that are written into one file: both of a character, each MANO hand on its own."""
        return tuple((side,) for side in self.hands) if self.kind == "mano" else (self.sides,)

    def hand(self, side: str) -> CharacterHand:
        """The hand of a side. Raises InputError if there is none."""
        if side not in self.hands:
            raise InputError(f"{self.path}: expected a {side} hand, found only the {' and '.join(self.hands)} hand")
        return self.hands[side]


def make_character(
    name: str,
    path: Path,
    skeleton: Skeleton,
    skin: Skin | None = None,
    axes: Mapping[str, np.ndarray] | None = None,
    rig_map: RigMap | None = None,
    side: str | None = None,
) -> Character:
    """A character out of what its file holds: its hands are found and put at rest.

    Args:
        axes: side → (5, 4, 3, 3) in the character's frame, of hands whose axes are known.
        rig_map: what the user says about the rig.
        side: of a hand that nothing else tells.

    Raises:
        InputError: it has no hand, or one whose palm has no plane, or that a negative scale turns into the other one.
    """
    axes, hands = axes or {}, {}
    found = find_hands(skeleton.names, skeleton.parents, skeleton.heads, path, rig_map, side)
    for each, hand in found.items():
        _check_not_mirrored(path, skeleton, hand)
        rest = rest_hand(hand, skeleton, skin, str(path))
        hands[each] = CharacterHand(name, hand, rest, skeleton, skin, axes.get(each))
    return Character(name, path, "skeleton" if skin is None else "character", hands)


def _check_not_mirrored(path: Path, skeleton: Skeleton, hand: HandMap) -> None:
    """Raise InputError if a negative scale makes the hand look like one of the other side. Files that only change the
    sense of their axes have a negative scale too; their hands look as they are called."""
    if skeleton.bases is None or np.linalg.det(skeleton.bases[hand.wrist]) >= 0:
        return
    looks = side_of(skeleton.heads, hand.indices)
    if looks not in (hand.side, None):
        raise InputError(
            f"{path}: expected a {hand.side} hand, found one that a negative scale turns into a {looks} hand; apply "
            "the scale of the armature (in Blender: Object, Apply, Scale), or remove it, and export again"
        )


def _float32(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).float()
