"""Motions at the rate that windows assume, and clips whose skeleton is not their character's (mathematics §5).

Networks learn from windows of 8 frames at 5 frames per second: of characters every 12th frame of 60 per second, of
MANO hands all of 5. A clip at another rate is slow or fast motion to them; `resampled` gives it the rate assumed.
"""

from __future__ import annotations

import numpy as np
import torch

from data.formats.bvh import Bvh
from data.formats.rates import rate_of
from data.rig.hand_map import HandMap
from data.rig.rest import RestHand
from model.rotations import slerp
from model.topology import FINGERS, JOINTS_PER_FINGER, PARENTS
from utils.errors import InputError

ASSUMED = {"mixamo": 60.0, "mano": 5.0}
"""Frames per second of motions, by domain."""
SAME_RATE = 0.01
"""Rates that differ by less than this share count as one: 59.94 is 60."""
OTHER_BONES = 0.1
"""A bone whose share of the hand differs by more than this is another bone: MANO's shapes vary by half of that."""
MOST_FRAMES = 1_000_000
"""A resampled clip has no more than that, 4.6 hours at 60 per second, unless it had more already."""
_CHUNK = 4096


def is_assumed(frame_time: float, domain: str) -> bool:
    """Whether frames that are ``frame_time`` seconds apart come at the rate that windows of a domain assume."""
    rate = rate_of(frame_time)
    return rate is not None and abs(rate - ASSUMED[domain]) <= SAME_RATE * ASSUMED[domain]


def resampled(
    local: np.ndarray, shapes: np.ndarray | None, frame_time: float, rate: float, where: str = "motion"
) -> tuple[np.ndarray, np.ndarray | None]:
    """A clip at another rate, from its first frame to the last: rotations on the great arc between two frames, numbers
    on the straight line. Times that are frames keep them to rounding.

    Args:
        local: ``(F, n, 3, 3)`` local rotations.
        shapes: ``(F, c)`` numbers that go along, such as shapes or places, or None.
        frame_time: seconds between frames, above 0.
        rate: frames per second of the result.
        where: the file, for the error message.

    Returns:
        ``(G, n, 3, 3)`` float64, and ``(G, c)`` or None; frame g is at ``g / rate`` seconds.

    Raises:
        InputError: the result would be longer than is believed.
    """
    step = 1 / (rate * round_frame_time(frame_time))  # frames of the file, from one of the result to the next
    count = 1 + int((len(local) - 1) / step + 1e-6)
    if count > max(MOST_FRAMES, len(local)):
        raise InputError(
            f"{where}: expected a clip of at most {MOST_FRAMES} frames at {rate:g} per second, found {count}; give it "
            "its true frame time, or cut it"
        )
    place = np.minimum(np.arange(count) * step, len(local) - 1)
    before = np.floor(place + 1e-6).astype(np.int64)
    after = np.minimum(before + 1, len(local) - 1)
    share = np.clip(place - before, 0, 1)
    turned = np.empty((count, *local.shape[1:]))
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        first, second = (torch.from_numpy(np.ascontiguousarray(local[i[part]])) for i in (before, after))
        turned[part] = slerp(first, second, torch.from_numpy(share[part])[:, None, None]).numpy()
    weight = share[:, None]
    line = None if shapes is None else (1 - weight) * shapes[before] + weight * shapes[after]
    return turned, line


def bone_lengths(hand: HandMap, motion: Bvh) -> np.ndarray:
    """(21,) how far each joint of a hand is from the one above it at rest, in the file's unit; NaN where the file
    lacks one of them."""
    places = np.zeros((len(motion.parents), 3))
    for joint, parent in enumerate(motion.parents):  # every joint stands after the one above it
        places[joint] = motion.offsets[joint] + (places[parent] if parent >= 0 else 0)
    return _lengths(np.array([np.full(3, np.nan) if i is None else places[i] for i in hand.indices]))


def rest_lengths(rest: RestHand) -> np.ndarray:
    """(21,) the same of a character's hand; NaN for joints of which its file does not tell the place."""
    return _lengths(np.where((rest.present & ~rest.made_up)[:, None], rest.positions, np.nan))


def difference(found: np.ndarray, expected: np.ndarray) -> str | None:
    """How the hand of a clip differs from that of its character, in a few words; None: not to speak of.

    Args:
        found, expected: ``(21,)`` lengths; their units do not matter.
    """
    extra = np.isfinite(found[1:]) & np.isnan(expected[1:])
    lacking = np.isnan(found[1:]) & np.isfinite(expected[1:])
    tips = np.arange(1, len(found)) % JOINTS_PER_FINGER == 0  # files may leave them out
    parts = []
    for joints, word in ((lacking & ~tips, "lacks"), (extra & ~tips, "also has")):
        if joints.any():
            parts.append(f"{word} {', '.join(_name(joint + 1) for joint in np.flatnonzero(joints).tolist())}")
    both = (found > 0) & (expected > 0)
    if both.sum() > 2:
        ratio = found[both] / expected[both]
        share = ratio / np.median(ratio) - 1
        worst = int(np.argmax(np.abs(share).round(3)))  # of several by the same share the first
        if abs(share[worst]) > OTHER_BONES:
            joint = int(np.flatnonzero(both)[worst])
            more = int((np.abs(share) > OTHER_BONES).sum()) - 1
            others = f", and {more} more differ" if more else ""
            word = "longer" if share[worst] > 0 else "shorter"
            parts.append(f"the bone to {_name(joint)} is {abs(share[worst]):.0%} {word}{others}")
    return "; ".join(parts) or None


def round_frame_time(frame_time: float) -> float:
    """Seconds between frames, as exporters that round them meant it: 1/30 for 0.033333."""
    rate = rate_of(frame_time)
    return frame_time if rate is None else 1 / rate


def _lengths(places: np.ndarray) -> np.ndarray:
    above = places[[max(parent, 0) for parent in PARENTS]]
    return np.linalg.norm(places - above, axis=-1)


def _name(joint: int) -> str:
    return f"{FINGERS[(joint - 1) // JOINTS_PER_FINGER]} {(joint - 1) % JOINTS_PER_FINGER + 1}"
