"""Hands as rigs of many kinds name and build them, written down for the tests.

A made rig is a list of (name, parent's name); :func:`made` builds both hands of a scheme on an arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

FINGERS = ("middle", "ring", "pinky", "index", "thumb")


@dataclass(frozen=True)
class MadeRig:
    """Joint names, parents, and the 21 names that are the right answer for each side (None: no such joint)."""

    names: list[str]
    parents: list[int]
    answer: dict[str, list[str | None]]


@dataclass(frozen=True)
class Made:
    """How a scheme builds a hand: for each finger the names from the palm outwards, with the place of its joints."""

    wrist: str
    chain: Callable[[str, str], list[str]]
    """(finger, side) → names from the palm outwards."""
    joints: Callable[[str], list[int | None]] = field(default=lambda finger: [0, 1, 2, 3])
    """finger → which of them are the three joints and the tip."""
    arm: str = "Arm_{S}"
    extra: tuple[str, ...] = ()
    """Names of further bones below the wrist, children of it."""


def words(side: str) -> dict[str, str]:
    return {"Side": side.capitalize(), "side": side, "SIDE": side.upper(), "S": side[0].upper(), "s": side[0]}


def pattern(text: str, numbers, names: dict[str, str] | None = None) -> Callable[[str, str], list[str]]:
    """Names from a pattern with {finger}, {Finger}, {n}, {nn} and the side's words."""

    def chain(finger: str, side: str) -> list[str]:
        called = (names or {}).get(finger, finger)
        own = numbers(finger) if callable(numbers) else numbers
        return [
            text.format(finger=called, Finger=called.capitalize(), n=n, nn=f"{n:02d}" if isinstance(n, int) else n,
                        **words(side))
            for n in own
        ]  # fmt: skip

    return chain


LITTLE = {"pinky": "little"}
NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
HUMANOID = ["Proximal", "Intermediate", "Distal"]
NO_TIP = lambda finger: [0, 1, 2, None]  # noqa: E731


def thumb_or(thumb: list, others: list) -> Callable[[str], list]:
    return lambda finger: thumb if finger == "thumb" else others


def after_metacarpal(tip: bool) -> Callable[[str], list[int | None]]:
    return thumb_or([0, 1, 2, 3 if tip else None], [1, 2, 3, 4 if tip else None])


def biped(finger: str, side: str) -> list[str]:
    root = f"Bip01 {side[0].upper()} Finger{NUMBER[finger] - 1}"
    return [root, f"{root}1", f"{root}2", f"{root}Nub"]


def rokoko(finger: str, side: str) -> list[str]:
    bones = ["Metacarpal", "Proximal", "Distal", "Tip"] if finger == "thumb" else [
        "Metacarpal", "Proximal", "Medial", "Distal", "Tip"]  # fmt: skip
    return [f"{side.capitalize()}Finger{NUMBER[finger]}{bone}" for bone in bones]


def beat(finger: str, side: str) -> list[str]:
    hand = f"{side.capitalize()}Hand"
    carpal = [] if finger in ("thumb", "middle") else [f"{hand}{finger.capitalize()}"]
    return carpal + [f"{hand}{finger.capitalize()}{n}" for n in (1, 2, 3)]


def beat_joints(finger: str) -> list[int | None]:
    return [0, 1, 2, None] if finger in ("thumb", "middle") else [1, 2, 3, None]


def makehuman(finger: str, side: str) -> list[str]:
    carpal = [] if finger == "thumb" else [f"metacarpal{NUMBER[finger] - 1}.{side[0].upper()}"]
    return carpal + [f"finger{NUMBER[finger]}-{n}.{side[0].upper()}" for n in (1, 2, 3)]


def webxr(finger: str, side: str) -> list[str]:
    if finger == "thumb":
        return ["thumb-metacarpal", "thumb-phalanx-proximal", "thumb-phalanx-distal", "thumb-tip"]
    name = f"{LITTLE.get(finger, finger) if finger == 'pinky' else finger}-finger"
    middle = [f"{name}-phalanx-{bone}" for bone in ("proximal", "intermediate", "distal")]
    return [f"{name}-metacarpal", *middle, f"{name}-tip"]


def openxr(finger: str, side: str) -> list[str]:
    bones = thumb_or(["metacarpal", "proximal", "distal", "tip"],
                     ["metacarpal", "proximal", "intermediate", "distal", "tip"])(finger)  # fmt: skip
    return [f"{LITTLE.get(finger, finger)}_{bone}_{side[0]}" for bone in bones]


def daz_carpals(finger: str, side: str) -> list[str]:
    name = {"middle": "Mid"}.get(finger, finger.capitalize())
    carpal = [] if finger == "thumb" else [f"{side[0]}Carpal{NUMBER[finger] - 1}"]
    return carpal + [f"{side[0]}{name}{n}" for n in (1, 2, 3)]


def genesis_9(finger: str, side: str) -> list[str]:
    name = {"middle": "mid"}.get(finger, finger)
    carpal = [] if finger == "thumb" else [f"{side[0]}_{name}metacarpal"]
    return carpal + [f"{side[0]}_{name}{n}" for n in (1, 2, 3)]


def unreal_5(finger: str, side: str) -> list[str]:
    carpal = [] if finger == "thumb" else [f"{finger}_metacarpal_{side[0]}"]
    return carpal + [f"{finger}_{n:02d}_{side[0]}" for n in (1, 2, 3)]


def oculus(finger: str, side: str) -> list[str]:
    numbers = thumb_or([0, 1, 2, 3], [0, 1, 2, 3] if finger == "pinky" else [1, 2, 3])(finger)
    return [f"b_{side[0]}_{finger}{n}" for n in numbers] + [f"b_{side[0]}_{finger}_null"]


def oculus_joints(finger: str) -> list[int]:
    return [1, 2, 3, 4] if finger in ("thumb", "pinky") else [0, 1, 2, 3]


def japanese(finger: str, side: str) -> list[str]:
    name = {"middle": "中指", "ring": "薬指", "pinky": "小指", "index": "人指", "thumb": "親指"}[finger]
    numbers = "０１２" if finger == "thumb" else "１２３"
    return [f"{'右' if side == 'right' else '左'}{name}{n}" for n in numbers]


def vrm_1(finger: str, side: str) -> list[str]:
    bones = ["Metacarpal", "Proximal", "Distal"] if finger == "thumb" else HUMANOID
    return [f"{side}{LITTLE.get(finger, finger).capitalize()}{bone}" for bone in bones]


def joined(text: str, thumb: list[str], others: list[str], names: dict[str, str] | None = None):
    """Names from a pattern with {finger}, {Finger}, {bone} and the side's words; other bones for the thumb."""

    def chain(finger: str, side: str) -> list[str]:
        called = (names or {}).get(finger, finger)
        return [
            text.format(finger=called, Finger=called.capitalize(), bone=bone, **words(side))
            for bone in (thumb if finger == "thumb" else others)
        ]  # fmt: skip

    return chain


def auto_rig_pro(finger: str, side: str) -> list[str]:
    s = side[0]
    base = [] if finger == "thumb" else [f"c_{finger}1_base.{s}"]
    return [*base, f"{finger}1.{s}", f"c_{finger}2.{s}", f"c_{finger}3.{s}"]


def xsens(finger: str, side: str) -> list[str]:
    ordinal = ("First", "Second", "Third", "Fourth", "Fifth")[NUMBER[finger] - 1]
    bones = ("MC", "PP", "DP") if finger == "thumb" else ("MC", "PP", "MP", "DP")
    return [f"{side.capitalize()}{ordinal}{bone}" for bone in bones]


def mmd_english(finger: str, side: str) -> list[str]:
    name = {"index": "fore", "ring": "third", "pinky": "little"}.get(finger, finger)
    return [f"{name}{n}_{side[0].upper()}" for n in ((0, 1, 2) if finger == "thumb" else (1, 2, 3))]


def mrtk(finger: str, side: str) -> list[str]:
    name = {"index": "Point"}.get(finger, finger.capitalize())
    numbers = (1, 2, 3) if finger == "thumb" else ("", 1, 2, 3)
    return [f"{name}{side[0].upper()}_JNT{n}" for n in numbers]


def mgear(finger: str, side: str) -> list[str]:
    """Fingers count from the index finger, because the thumb has a name."""
    name = f"thumb_{side[0].upper()}0" if finger == "thumb" else f"finger_{side[0].upper()}{NUMBER[finger] - 2}"
    return [f"{name}_{n}_jnt" for n in range(3)]


def copies(finger: str, side: str) -> list[str]:
    return [f"{side[0].upper()}_{finger}{copy}" for copy in ("", ".001", ".002")]


def neos(finger: str, side: str) -> list[str]:
    name = LITTLE.get(finger, finger).capitalize()
    return [f"J_Bip_L_{name}{n}.{side[0].upper()}" for n in (1, 2, 3)]


RUSSIAN = {"thumb": "Большой", "index": "Указательный", "middle": "Средний", "ring": "Безымянный", "pinky": "Мизинец"}
KOREAN = {"thumb": "엄지", "index": "검지", "middle": "중지", "ring": "약지", "pinky": "소지"}
ROMAJI = {"thumb": "oya", "index": "hitosashi", "middle": "naka", "ring": "kusuri", "pinky": "ko"}
GERMAN = {"thumb": "daumen", "index": "zeigefinger", "middle": "mittelfinger", "ring": "ringfinger",
          "pinky": "kleiner Finger"}  # fmt: skip
ITALIAN = {"thumb": "pollice", "index": "indice", "middle": "medio", "ring": "anulare", "pinky": "mignolo"}
FRENCH = {"thumb": "pouce", "index": "index", "middle": "majeur", "ring": "annulaire", "pinky": "auriculaire"}
SPANISH = {"thumb": "pulgar", "index": "índice", "middle": "medio", "ring": "anular", "pinky": "meñique"}
CHINESE = {"thumb": "拇指", "index": "食指", "middle": "中指", "ring": "无名指", "pinky": "小指"}
PAST_BASE = thumb_or([0, 1, 2, None], [1, 2, 3, None])
FOUR = (1, 2, 3, 4)
THREE = (1, 2, 3)
SCHEMES: dict[str, Made] = {
    "mixamo": Made("mixamorig:{Side}Hand", pattern("mixamorig:{Side}Hand{Finger}{n}", FOUR)),
    "mixamo 6": Made("mixamorig6:{Side}Hand", pattern("mixamorig6:{Side}Hand{Finger}{n}", FOUR)),
    "mixamo underscore": Made("mixamorig_{Side}Hand", pattern("mixamorig_{Side}Hand{Finger}{n}", FOUR)),
    "mixamo with ends": Made(
        "mixamorig:{Side}Hand", pattern("mixamorig:{Side}Hand{Finger}{n}", (1, 2, 3, 4, "4_end"))),
    "ready player me": Made("{Side}Hand", pattern("{Side}Hand{Finger}{n}", FOUR)),
    "zeggs": Made("{Side}Hand", pattern("{Side}Hand{Finger}{n}", FOUR), arm="{Side}ForeArm"),
    "without tips": Made("{Side}Hand", pattern("{Side}Hand{Finger}{n}", THREE), NO_TIP),
    "beat": Made("{Side}Hand", beat, beat_joints, arm="{Side}ForeArm"),
    "makehuman": Made("wrist.{S}", makehuman, lambda f: [0, 1, 2, None] if f == "thumb" else [1, 2, 3, None]),
    "mpfb game engine": Made("hand_{s}", pattern("{finger}_{nn}_{s}", THREE), NO_TIP, arm="lowerarm_{s}"),
    "unreal 4": Made("hand_{s}", pattern("{finger}_{nn}_{s}", THREE), NO_TIP, "lowerarm_{s}",
                     ("ik_hand_{s}", "weapon_{s}", "hand_{s}_twist_01")),
    "unreal 5": Made("hand_{s}", unreal_5, after_metacarpal(tip=False)),
    "quaternius": Made("hand_{s}", pattern("{finger}_{nn}_{s}", (1, 2, 3, "04_leaf"))),
    "unity": Made("{Side}Hand", pattern("{Side} {Finger} {n}", HUMANOID, LITTLE), NO_TIP),
    "unity joined": Made("{Side}Hand", pattern("{Side}{Finger}{n}", HUMANOID, LITTLE), NO_TIP),
    "vrm 0": Made("{side}Hand", pattern("{side}{Finger}{n}", HUMANOID, LITTLE), NO_TIP),
    "vrm 1": Made("{side}Hand", vrm_1, NO_TIP),
    "vroid": Made("J_Bip_{S}_Hand", pattern("J_Bip_{S}_{Finger}{n}", (1, 2, 3, "3_end"), LITTLE)),
    "biped": Made("Bip01 {S} Hand", biped, arm="Bip01 {S} Forearm"),
    "biped underscore": Made(
        "Bip001_{S}_Hand", lambda f, s: [n.replace("Bip01", "Bip001").replace(" ", "_") for n in biped(f, s)]),
    "openxr": Made("wrist_{s}", openxr, after_metacarpal(tip=True), extra=("palm_{s}",)),
    "godot": Made("Wrist_{S}", lambda f, s: [n.title() for n in openxr(f, s)], after_metacarpal(tip=True),
                  extra=("Palm_{S}",)),
    "unity xr": Made("{S}_Wrist", lambda f, s: [
        f"{s[0].upper()}_" + "".join(part.capitalize() for part in n.split("_")[:-1]) for n in openxr(f, s)],
        after_metacarpal(tip=True), extra=("{S}_Palm",)),
    "smplx": Made("{side}_wrist", pattern("{side}_{finger}{n}", THREE), NO_TIP, arm="{side}_elbow"),
    "smplx with tips": Made("{side}_wrist", pattern("{side}_{finger}{n}", (1, 2, 3, "")), arm="{side}_elbow"),
    "mano": Made("{side}_wrist", pattern("{side}_{finger}{n}", FOUR)),
    "daz genesis 8": Made("{s}Hand", daz_carpals, lambda f: [0, 1, 2, None] if f == "thumb" else [1, 2, 3, None]),
    "daz genesis 9": Made("{s}_hand", genesis_9, after_metacarpal(tip=False)),
    "rokoko": Made("{Side}Hand", rokoko, after_metacarpal(tip=True)),
    "rigify": Made("DEF-hand.{S}", lambda f, s: [
        f"DEF-{'' if f == 'thumb' else 'f_'}{f}.{n:02d}.{s[0].upper()}" for n in THREE], NO_TIP,
        extra=("DEF-palm.01.{S}",)),
    "oculus": Made("b_{s}_wrist", oculus, oculus_joints),
    "character creator": Made(
        "CC_Base_{S}_Hand", pattern("CC_Base_{S}_{Finger}{n}", THREE, {"middle": "mid"}), NO_TIP),
    "source engine": Made("bip_hand_{S}", pattern("bip_{finger}_{n}_{S}", (0, 1, 2)), NO_TIP),
    "metacarpals counted": Made("hand_{s}", pattern("{finger}_{nn}_{s}", lambda f: THREE if f == "thumb" else FOUR),
                                lambda f: [0, 1, 2, None] if f == "thumb" else [1, 2, 3, None]),
    "five joints counted": Made("hand.{S}", pattern("{Finger}{n}.{S}", lambda f: FOUR if f == "thumb" else (*FOUR, 5)),
                                lambda f: [0, 1, 2, 3] if f == "thumb" else [1, 2, 3, 4]),
    "letters": Made("{Side}Hand", pattern("{Side}Finger{Finger}{n}", ("A", "B", "C")), NO_TIP),
    "one word": Made("{s}hand", pattern("{s}{finger}{n}", THREE), NO_TIP),
    "auto-rig pro": Made("hand.{s}", auto_rig_pro, PAST_BASE, arm="forearm_stretch.{s}"),
    "xsens": Made("{Side}Carpus", xsens, PAST_BASE, arm="{Side}ForeArm"),
    "manus": Made("{Side}Hand", joined("{Side}{Finger}_{bone}", ["CMC", "MCP", "DIP", "TIP"],
                                       ["CMC", "MCP", "PIP", "DIP", "TIP"]), after_metacarpal(tip=True)),
    "mediapipe": Made("{SIDE}_WRIST", lambda f, s: [
        f"{s.upper()}_{f.upper()}_{'' if f == 'thumb' else 'FINGER_'}{bone}"
        for bone in (("CMC", "MCP", "IP", "TIP") if f == "thumb" else ("MCP", "PIP", "DIP", "TIP"))]),
    "blendarmocap": Made("wrist.{S}", lambda f, s: [
        f"{f}_{'' if f == 'thumb' else 'finger_'}{bone}.{s[0].upper()}"
        for bone in (("cmc", "mcp", "ip", "tip") if f == "thumb" else ("mcp", "pip", "dip", "tip"))]),
    "arkit": Made("{side}_hand_joint", joined(
        "{side}_hand{Finger}{bone}_joint", ["Start", "_1", "_2", "End"], ["Start", "_1", "_2", "_3", "End"],
        {"middle": "mid"}), after_metacarpal(tip=True), arm="{side}_forearm_joint"),
    "visionos": Made("{side}Hand", lambda f, s: [
        f"{s}{LITTLE.get(f, f).capitalize()}{'' if f == 'thumb' else 'Finger'}{bone}"
        for bone in (*(() if f == "thumb" else ("Metacarpal",)), "Knuckle", "IntermediateBase", "IntermediateTip",
                     "Tip")], after_metacarpal(tip=True), arm="{side}Forearm"),
    "mmd english": Made("wrist_{S}", mmd_english, NO_TIP, arm="elbow_{S}"),
    "mrtk": Made("Wrist{S}_JNT", mrtk, PAST_BASE, arm="ForeArm{S}_JNT"),
    "mgear": Made("hand_{S}0_0_jnt", mgear, NO_TIP, arm="arm_{S}0_4_jnt"),
    "3ds max cat": Made("CATRig{S}ArmPalm", lambda f, s: [
        f"CATRig{s[0].upper()}ArmDigit{NUMBER[f]}{n}" for n in (1, 2, 3)], NO_TIP, arm="CATRig{S}Arm2"),
    "german": Made("Hand.{S}", joined("{Finger}{bone}.{S}", ["1", "2", "3"], ["1", "2", "3"], GERMAN), NO_TIP,
                   arm="Unterarm.{S}"),
    "german spelt out": Made("Handgelenk_{Side}", lambda f, s: [
        f"{'rechter' if s == 'right' else 'linker'}_{GERMAN[f]}_{n}" for n in (1, 2, 3)], NO_TIP),
    "french": Made("Poignet_{S}", joined("{Finger}_{bone}_{S}", ["1", "2", "3"], ["1", "2", "3"], FRENCH), NO_TIP),
    "spanish": Made("Mano.{S}", joined("{Finger}{bone}.{S}", ["1", "2", "3"], ["1", "2", "3"], SPANISH), NO_TIP),
    "italian": Made("Mano_{S}", joined("{finger}{bone}_{S}", ["1", "2", "3"], ["1", "2", "3"], ITALIAN), NO_TIP),
    "russian": Made("Кисть_{S}", joined("{finger}{bone}_{S}", ["1", "2", "3"], ["1", "2", "3"], RUSSIAN), NO_TIP,
                    arm="Предплечье_{S}"),
    "korean": Made("손목_{S}", joined("{finger}{bone}_{S}", ["1", "2", "3"], ["1", "2", "3"], KOREAN), NO_TIP),
    "romaji": Made("tekubi_{S}", joined("{finger}yubi{bone}_{S}", ["1", "2", "3"], ["1", "2", "3"], ROMAJI), NO_TIP),
    "second life": Made("mWrist{Side}", joined("mHand{Finger}{bone}{Side}", ["1", "2", "3"], ["1", "2", "3"]), NO_TIP,
                        arm="mElbow{Side}"),
    "vicon": Made("{Side}Wrist", joined("{Side}{Finger}{bone}", ["CMC", "MCP", "IP"], ["MCP", "PIP", "DIP"]), NO_TIP),
    "chinese": Made("{Side}手腕", joined("{Side}{finger}{bone}", ["1", "2", "3"], ["1", "2", "3"], CHINESE), NO_TIP),
    "copies of one name": Made("{S}_hand", copies, NO_TIP),
    "vroid with two sides": Made("J_Bip_L_Hand.{S}", neos, NO_TIP, arm="J_Bip_L_LowerArm.{S}"),
    "side in front, r for rig": Made("{S}_hand_r", pattern("{S}_{finger}{n}_r", THREE), NO_TIP, arm="{S}_elbow_r"),
    "numbers with zeros": Made("hand_{S}", lambda f, s: [
        f"finger_{NUMBER[f]:02d}_{n:02d}_{s[0].upper()}" for n in (1, 2, 3)], NO_TIP),
    "numbers from the index": Made("hand_{S}", lambda f, s: [
        f"{'thumb' if f == 'thumb' else f'finger{NUMBER[f] - 1}'}_{n}_{s[0].upper()}" for n in (1, 2, 3)], NO_TIP),
    "maya": Made("{Side}_wrist_jnt", pattern("{Side}_{finger}_{nn}_jnt", (1, 2, 3, "end")), arm="{Side}_elbow_jnt"),
    "advanced skeleton": Made("Wrist_{S}", lambda f, s: [
        f"{f.capitalize()}Finger{n}_{s[0].upper()}" for n in FOUR], arm="Elbow_{S}"),
    "smpl-h joint names": Made("{S}_Wrist", lambda f, s: [f"{s[0]}{f}{n}" for n in (0, 1, 2)], NO_TIP),
    "japanese": Made("右手首", japanese, NO_TIP),
}  # fmt: skip
"""Both hands, apart from WebXR, whose names do not tell the side."""
WEBXR = Made("wrist", webxr, after_metacarpal(tip=True), arm="hand model")


def made(scheme: Made, sides=("right", "left"), without: tuple[str, ...] = ()) -> MadeRig:
    """The rig of a scheme, some fingers left out: hips, then an arm, a hand and five fingers for each side."""
    names, parents, answer = ["Hips"], [-1], {}

    def add(name: str, parent: int) -> int:
        if name not in names:
            names.append(name)
            parents.append(parent)
        return names.index(name)

    for side in sides:
        arm = add(scheme.arm.format(**words(side)), 0)
        wrist_name = scheme.wrist.format(**words(side))
        if side == "left":
            wrist_name = wrist_name.replace("右", "左")
        wrist = add(wrist_name, arm)
        answer[side] = [wrist_name]
        for extra in scheme.extra:
            add(extra.format(**words(side)), wrist)
        for finger in FINGERS:
            if finger in without:
                answer[side] += [None] * 4
                continue
            chain, parent = scheme.chain(finger, side), wrist
            for name in chain:
                parent = add(name, parent)
            answer[side] += [None if at is None else chain[at] for at in scheme.joints(finger)]
    return MadeRig(names, parents, answer)
