"""Which bones of any rig are the hand, how it rests, and how its rotations become those of features."""

from data.rig.find import find_hand, find_hands, hand_sides, print_map
from data.rig.hand_map import HandMap
from data.rig.rig_map import RigMap, read_rig_map

__all__ = ["HandMap", "RigMap", "find_hand", "find_hands", "hand_sides", "print_map", "read_rig_map"]
