"""A picture of hands side by side: the source, copies of it, and what each network made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor

from data.character import HandMesh, hand_mesh, load_character
from data.features import HandFeatures
from data.mixhand import MixHandDataModule
from data.windows import BatchRequest
from model.hands import PosedHand
from model.kinematics import finger_part
from model.metrics import CONTACT, pinch_error, semantic_similarity
from model.presence import pairs
from model.retargeting import Retargeting, Source
from model.skinning import skin_hand
from model.topology import TIPS
from utils.errors import InputError
from utils.figure import HandCell, hand_grid
from utils.files import atomic_write
from utils.render import COLORS
from utils.trusted import load_checkpoint

TITLES = {"rotation_copy": "rotation copy", "tbs_copy": "twist-bend-splay copy", "dm": "DM", "asrn": "ASRN"}
CLOSED = 3 * CONTACT  # fingertips nearer than this look closed
_TIPS = [tip - 1 for tip in TIPS]


def load_network(cls: type[Retargeting], checkpoint: str | Path) -> Retargeting:
    """A trained network from a checkpoint of its own method, ready to retarget.

    Raises InputError if the checkpoint does not say how its network was built.
    """
    content = load_checkpoint(checkpoint)
    if not content.get("hyper_parameters") or not content.get("state_dict"):
        raise InputError(f"{checkpoint}: expected a checkpoint with hyper_parameters and state_dict")
    network = cls(**content["hyper_parameters"])
    network.load_state_dict(content["state_dict"])
    return network.eval()


@dataclass
class Direction:
    """All test windows of one direction: hands in every method's pose, and how good each frame is."""

    name: str
    source: HandFeatures
    target: HandFeatures
    characters: tuple[list[str], list[str]]  # of the source and of the target, by window
    local: dict[str, Tensor]  # method -> (N, T, 5, 3, 3, 3)
    s_finger: dict[str, Tensor]  # method -> (N, T)
    pinch: dict[str, Tensor]  # method -> (N, T), NaN without contact
    touching: Tensor  # (N, T, 5, 5) bool, fingertips of the source


@torch.no_grad()
def retarget_all(networks: Sequence[Retargeting], data: MixHandDataModule) -> list[Direction]:
    """Retarget the test windows of `data` in both directions, by copying and with each network."""
    windows = data.windows("test")
    batch = windows.batch(BatchRequest(0, np.arange(len(windows))))
    names = [[group.names[p] for p in column] for group, column in zip(windows.groups, batch.positions.T, strict=True)]
    groups = [(batch.first, names[0]), (batch.second, names[1])]
    return [_retarget(networks, source, target) for source, target in ((groups[1], groups[0]), (groups[0], groups[1]))]


def _retarget(networks, source: tuple, target: tuple) -> Direction:
    (source_hands, source_names), (target_hands, target_names) = source, target
    shaped, prepared = networks[0].shaped_hand(target_hands), Source(source_hands)
    posed = {
        "rotation_copy": shaped.with_local_rotations(finger_part(quaternion_to_matrix(source_hands.local_rotations))),
        "tbs_copy": shaped.with_tbs(prepared.tbs),
        **{network.method: network.retarget(target_hands, source_hands) for network in networks},
    }
    shape = tuple(source_hands.batch_shape)
    frames = source_hands.frames_apart()
    single, result = Source(frames).shared_with(target_hands.frames_apart()), {}
    for method, hand in posed.items():
        joints, axes = hand.joints.flatten(0, 1).unsqueeze(1), hand.frames.flatten(0, 1).unsqueeze(1)
        s_finger, _ = semantic_similarity(single.directions, joints, axes, counted=single.counted)
        error, _ = pinch_error(frames.finger_coords, joints, single.counted)
        result[method] = (s_finger.reshape(shape), error.reshape(shape))
    coords = source_hands.finger_coords[..., _TIPS, :, :][..., _TIPS, :]
    touching = (coords.norm(dim=-1) < CONTACT) & ~torch.eye(len(_TIPS), dtype=torch.bool)
    if single.counted is not None:
        tips = single.counted.unflatten(0, shape).squeeze(-2)[..., list(TIPS)]
        touching = touching & pairs(tips, tips)
    return Direction(
        f"{source_hands.domain}2{target_hands.domain}",
        source_hands,
        target_hands,
        (source_names, target_names),
        {method: hand.local for method, hand in posed.items()},
        {method: values[0] for method, values in result.items()},
        {method: values[1] for method, values in result.items()},
        touching,
    )


def most_different(direction: Direction, contacts: int, others: int) -> list[tuple[int, int]]:
    """(window, frame) of the gestures on which the methods differ most, each of another kind.

    First `contacts` gestures by the spread of the pinch error, of different touching fingertips; then `others` without
    contact by the spread of S_finger. No two come from the same source and target.
    """
    pinch = torch.stack(list(direction.pinch.values()))
    spread = (pinch.amax(0) - pinch.amin(0)).nan_to_num(-1.0)
    similarity = torch.stack(list(direction.s_finger.values()))
    apart = ~direction.touching.flatten(-2).any(-1)
    still = (similarity.amax(0) - similarity.amin(0)).where(apart, torch.tensor(-1.0))
    chosen: list[tuple[int, int]] = []
    used: set = set()
    for scores, wanted in ((spread, contacts), (still, others)):
        before = len(chosen)
        for flat in scores.flatten().argsort(descending=True).tolist():
            window, frame = divmod(flat, scores.shape[1])
            if len(chosen) - before == wanted or scores[window, frame] <= 0:
                break
            pairs = tuple(direction.touching[window, frame].flatten().tolist())
            people = (direction.characters[0][window], direction.characters[1][window])
            if (wanted == contacts and pairs in used) or people in used:
                continue
            used |= {pairs, people}
            chosen.append((window, frame))
    return chosen


class Meshes:
    """The surfaces to draw: characters from finger_data, MANO hands from their model."""

    def __init__(self, data_path: str | Path, network: Retargeting) -> None:
        self.folder, self.network = Path(data_path) / "finger_data", network
        self._known: dict[str, HandMesh] = {}

    def surface(self, hands: HandFeatures, name: str, local: Tensor) -> tuple[np.ndarray, np.ndarray, PosedHand]:
        """Vertices (V, 3), faces (F, 3) and pose of one frame: `hands` (1, 1, …), `local` (1, 1, 5, 3, 3, 3)."""
        posed = self.network.shaped_hand(hands).with_local_rotations(local)
        if hands.domain == "mano":
            return posed.vertices()[0, 0].numpy(), self.network.mano_hand(local).faces, posed
        if name not in self._known:
            self._known[name] = hand_mesh(load_character(self.folder, name), hands.side)
        mesh = self._known[name]
        arrays = (torch.as_tensor(a).float() for a in (mesh.vertices, mesh.weights, mesh.joint_positions))
        return skin_hand(posed, *arrays)[0, 0].numpy(), mesh.faces, posed


def draw_comparison(
    networks: Sequence[Retargeting], data: MixHandDataModule, path: str | Path, contacts: int = 2, others: int = 1
) -> None:
    """Draw the gestures on which the methods differ most, `contacts` + `others` a direction, into `path` (PNG)."""
    meshes = Meshes(data.data_path, networks[0])
    rows, titles, methods = [], [], ["rotation_copy", "tbs_copy", *(network.method for network in networks)]
    with torch.no_grad():
        for direction in retarget_all(networks, data):
            for window, frame in most_different(direction, contacts, others):
                rows.append(_row(direction, window, frame, methods, meshes))
                source, target = (names[window] for names in direction.characters)
                titles.append(f"{source}\n→ {target}")
    page = hand_grid(
        rows,
        ["source", *(TITLES[method] for method in methods)],
        titles,
        colors=[COLORS["source"], *(COLORS[method] for method in methods)],
        title="The gestures on which the methods differ most",
        note="S: semantic similarity S_finger. Fingertips that touch on the source: green where they meet, "
        "red where they do not (gap in palm lengths).",
        side=networks[0].side,
    )  # fmt: skip
    with atomic_write(path) as temporary:
        Image.fromarray(page).quantize(200, method=Image.Quantize.FASTOCTREE).save(temporary, optimize=True)


def _row(direction: Direction, window: int, frame: int, methods: list[str], meshes: Meshes) -> list[HandCell]:
    here = (slice(window, window + 1), slice(frame, frame + 1))
    source, target = direction.source[here], direction.target[here]
    touching = torch.triu(direction.touching[window, frame]).nonzero().tolist()
    names = [names[window] for names in direction.characters]
    best = max(methods, key=lambda method: float(direction.s_finger[method][window, frame]))
    local = finger_part(quaternion_to_matrix(source.local_rotations))
    cells = [_cell(*meshes.surface(source, names[0], local), touching, "", False)]
    for method in methods:
        caption = f"S {float(direction.s_finger[method][window, frame]):.3f}"
        if touching:
            caption += f"   gap {float(direction.pinch[method][window, frame]):.2f}"
        surface = meshes.surface(target, names[1], direction.local[method][here])
        cells.append(_cell(*surface, touching, caption, method == best))
    return cells


def _cell(vertices, faces, posed: PosedHand, touching, caption: str, strong: bool) -> HandCell:
    palm = float(posed.palm_length[0, 0])
    tips = posed.joints[0, 0, list(TIPS)].numpy()
    touches = [(tips[a], tips[b], bool(np.linalg.norm(tips[a] - tips[b]) < CLOSED * palm)) for a, b in touching]
    return HandCell(vertices, faces, palm, caption, touches, strong)
