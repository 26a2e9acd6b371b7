"""Known ways of naming the bones of a hand, as examples: what they are called, and what their names look like.

Recognition does not need this table (see :mod:`data.rig.words`); it gives a hand's scheme its name, tells which hands
hold poses of the MANO model, and is what messages show.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """A way of naming, by the ends of the names of the wrist and of the index finger's first joint.

    ``{Side}`` stands for Right or Left, ``{side}`` for right or left, ``{SIDE}`` for RIGHT or LEFT, ``{S}`` for R or
    L, ``{s}`` for r or l.
    """

    name: str
    wrist: str
    index: str

    def ends(self, side: str) -> tuple[str, str]:
        """The ends of both names for a side."""
        words = {"Side": side.capitalize(), "side": side, "SIDE": side.upper(), "S": side[0].upper(), "s": side[0]}
        return self.wrist.format(**words), self.index.format(**words)


MANO = "mano"
SCHEMES = (
    Scheme("mixamo", "{Side}Hand", "{Side}HandIndex1"),  # and Ready Player Me, BEAT, ZEGGS, HumanIK
    Scheme(MANO, "{side}_wrist", "{side}_index1"),  # and SMPL-X
    Scheme("makehuman", "wrist.{S}", "finger2-1.{S}"),
    Scheme("unreal", "hand_{s}", "index_01_{s}"),  # and MPFB's game engine rig
    Scheme("unity", "{Side}Hand", "{Side}IndexProximal"),  # and Godot
    Scheme("unity", "{Side} Hand", "{Side} Index Proximal"),
    Scheme("unity", "{Side}Hand", "{Side} Index Proximal"),
    Scheme("vrm", "{side}Hand", "{side}IndexProximal"),
    Scheme("vroid", "J_Bip_{S}_Hand", "J_Bip_{S}_Index1"),
    Scheme("biped", "{S} Hand", "{S} Finger1"),  # of 3ds Max; Finger0 is the thumb
    Scheme("biped", "{S}_Hand", "{S}_Finger1"),
    Scheme("openxr", "Wrist_{S}", "Index_Proximal_{S}"),
    Scheme("openxr", "wrist_{s}", "index_proximal_{s}"),
    Scheme("openxr", "{S}_Wrist", "{S}_IndexProximal"),
    Scheme("webxr", "wrist", "index-finger-phalanx-proximal"),
    Scheme("daz", "{s}Hand", "{s}Index1"),  # Genesis 3 and 8
    Scheme("daz", "{s}_hand", "{s}_index1"),  # Genesis 9
    Scheme("rokoko", "{Side}Hand", "{Side}Finger2Proximal"),
    Scheme("rigify", "hand.{S}", "f_index.01.{S}"),
    Scheme("oculus", "b_{s}_wrist", "b_{s}_index1"),
    Scheme("auto-rig pro", "hand.{s}", "index1.{s}"),
    Scheme("xsens", "{Side}Carpus", "{Side}SecondPP"),
    Scheme("manus", "{Side}Hand", "{Side}Index_MCP"),
    Scheme("mediapipe", "{SIDE}_WRIST", "{SIDE}_INDEX_FINGER_MCP"),
    Scheme("mediapipe", "wrist.{S}", "index_finger_mcp.{S}"),  # of BlendArMocap
    Scheme("arkit", "{side}_hand_joint", "{side}_handIndex_1_joint"),
    Scheme("visionos", "{side}Hand", "{side}IndexFingerKnuckle"),
    Scheme("mmd", "wrist_{S}", "fore1_{S}"),
    Scheme("mrtk", "Wrist{S}_JNT", "Point{S}_JNT1"),
    Scheme("mgear", "hand_{S}0_0_jnt", "finger_{S}0_0_jnt"),
    Scheme("3ds max cat", "{S}ArmPalm", "{S}ArmDigit21"),
    Scheme("character creator", "CC_Base_{S}_Hand", "CC_Base_{S}_Index1"),
)


def scheme_of(wrist: str, index: str | None, side: str) -> str:
    """The scheme's name for the names of a wrist and of an index finger's first joint; "" if it is not known."""
    for scheme in SCHEMES:
        wrist_end, index_end = scheme.ends(side)
        if index is not None and wrist.endswith(wrist_end) and index.endswith(index_end):
            return scheme.name
    return ""


def listing() -> str:
    """The schemes as a table for DATA.md: name, a right hand's wrist, the index finger's first bone."""
    rows = [(scheme.name, *(f"`{end}`" for end in scheme.ends("right"))) for scheme in SCHEMES]
    return "\n".join(["| rig | wrist | index finger |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])
