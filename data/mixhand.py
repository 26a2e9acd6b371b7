"""MixHand and data sets of its layout, for training and testing: splits, protocol and loaders (mathematics §5)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import LightningDataModule

from data.features.file import FeatureFile, open_features
from data.features.loader import BatchOrder, PairLoader
from data.features.windows import PairedWindows, WindowGroup, read_statistics
from data.splits import (
    INTRA_SOURCE,
    INTRA_TARGET,
    TEST_CHARACTERS,
    TRAIN_CHARACTERS,
    VAL_CHARACTERS,
    expand_characters,
)
from utils.cli import processors
from utils.errors import InputError, some

log = logging.getLogger(__name__)

_SIMILAR_RATES = 1.1

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class SplitSummary:
    """What a split holds, for tables and logs."""

    split: str
    windows: int
    """Pairs of windows."""
    frames: int
    """Frames of each side in these windows; overlapping windows count their common frames twice."""
    characters: tuple[tuple[str, ...], tuple[str, ...]]
    """Names in each group, without repetition."""
    surplus: tuple[int, int]
    """Windows of each group that have no partner."""

    def __str__(self) -> str:
        sides = " with ".join(", ".join(names) for names in self.characters)
        return f"{self.split}: {self.windows} windows, {self.frames} frames of each side ({sides})"


def _distinct(group: WindowGroup) -> tuple[str, ...]:
    """The characters of a group, each once."""
    return tuple(dict.fromkeys(group.names))


class MixHandDataModule(LightningDataModule):
    """Windows of hand motion of two groups of characters, paired by number.

    A list of characters holds both groups; the feature files say who belongs to which. Entries are ``Aj``, ``Aj*9``
    (nine times), ``(Aj+Kaya)*9`` (Aj, Kaya, Aj, Kaya, …) or ``Hand00..95`` (Hand00 to Hand95).

    Args:
        data_path: folder with a feature file <character>.npy for each character, as run.preprocess_mixhand writes
            them (published files are read too).
        data_augment: reverse training windows in time with probability ½.
        window_size: frames of a window; windows overlap by half.
        normalization: subtract each character's mean and divide by its deviation (folder mean_var).
        batch_size: pairs of windows per batch.
        num_workers: processes that prepare batches, at most one per processor; 0 prepares them in the main process.
        train_characters: characters to train with.
        val_characters: characters to validate with.
        test_characters: characters to test with across domains.
        protocol: what `test` and `predict` do. "cross" retargets between the Mixamo and the MANO characters of
            test_characters; "intra" retargets between Mixamo characters, from intra_source to intra_target.
        intra_target: Mixamo characters whose hands are posed in the protocol "intra".
        intra_source: Mixamo characters whose motion is copied in the protocol "intra".
        frame_stride: of Mixamo motion, use each n-th frame (12 brings 60 frames per second down to 5).
        new_pairs: pair the training windows anew in every epoch, so that each motion meets ever other hands.
    """

    def __init__(
        self,
        data_path: str = "artifact/MixHand",
        data_augment: bool = False,
        window_size: int = 8,
        normalization: bool = False,
        batch_size: int = 64,
        num_workers: int = 8,
        train_characters: list[str] = TRAIN_CHARACTERS,
        val_characters: list[str] = VAL_CHARACTERS,
        test_characters: list[str] = TEST_CHARACTERS,
        protocol: Literal["cross", "intra"] = "cross",
        intra_target: list[str] = INTRA_TARGET,
        intra_source: list[str] = INTRA_SOURCE,
        frame_stride: int = 12,
        new_pairs: bool = False,
    ):
        super().__init__()
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("num_workers", num_workers, 0),
            ("frame_stride", frame_stride, 1),
            ("window_size", window_size, 2),
        ):
            if value < least:
                raise InputError(f"`{name}`: expected at least {least}, found {value}")
        if protocol not in ("cross", "intra"):
            raise InputError(f"`protocol`: expected cross or intra, found {protocol!r}")
        self.data_path = Path(data_path)
        self.data_augment, self.window_size, self.normalization = data_augment, window_size, normalization
        self.new_pairs = new_pairs
        self.batch_size, self.frame_stride, self.protocol = batch_size, frame_stride, protocol
        self.num_workers = min(num_workers, processors())
        self._lists = {"train": train_characters, "val": val_characters, "test": test_characters}
        self._intra = (intra_target, intra_source)
        self._files: dict[str, FeatureFile] = {}
        self._windows: dict[str, PairedWindows] = {}
        self._seed: int | None = None

    # -- Lightning's hooks ---------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Open the feature files of the splits that ``stage`` needs: "fit", "validate", "test" or "predict".

        Raises:
            InputError: a character is missing, a file is damaged, a split has one domain only, or no clip is long
                enough for a window.
        """
        splits = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("test",)}[stage]
        for split in splits:
            self.windows(split)

    def train_dataloader(self) -> PairLoader:
        """Batches of the training split, shuffled anew in every epoch."""
        return self._loader("train")

    def val_dataloader(self) -> PairLoader:
        """Batches of the validation split, in order."""
        return self._loader("val")

    def test_dataloader(self) -> PairLoader:
        """Batches of the test split of the chosen protocol, in order."""
        return self._loader("test")

    def predict_dataloader(self) -> PairLoader:
        """The same as :meth:`test_dataloader`."""
        return self._loader("test")

    def state_dict(self) -> dict[str, int]:
        """The seed of shuffling and augmentation goes into checkpoints, so that a resumed run continues its order."""
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue with the seed of the interrupted run."""
        self._seed = int(state_dict["seed"])
        if "train" in self._windows:
            self._windows["train"].seed = self._seed

    # -- for the model and the command line ----------------------------------------------------------------------

    @property
    def seed(self) -> int:
        """Seed of shuffling and augmentation: that of ``seed_everything`` when it was first asked for."""
        if self._seed is None:
            self._seed = torch.initial_seed() % 2**63
        return self._seed

    @property
    def side(self) -> str:
        """Side of the hands, ``"right"`` or ``"left"``, from the files; call :meth:`setup` first."""
        if not self._windows:
            raise RuntimeError("the side of the hands is known after setup()")
        return next(iter(self._windows.values())).side

    def windows(self, split: Split) -> PairedWindows:
        """The paired windows of a split, opened when first asked for. Raises InputError as :meth:`setup` does."""
        if split not in self._windows:
            if split == "test" and self.protocol == "intra":
                first, second = (self._mixamo_group(*which) for which in
                                 zip(("intra_target", "intra_source"), self._intra, strict=True))  # fmt: skip
            else:
                first, second = self._groups_by_domain(split)
            self._windows[split] = self._paired(split, first, second)
        return self._windows[split]

    def summary(self) -> list[SplitSummary]:
        """What the splits hold that were set up."""
        return [
            SplitSummary(
                split,
                windows=len(windows),
                frames=len(windows) * windows.groups[0].length,
                characters=(_distinct(windows.groups[0]), _distinct(windows.groups[1])),
                surplus=windows.surplus,
            )
            for split, windows in self._windows.items()
        ]

    # -- within --------------------------------------------------------------------------------------------------

    def _open(self, entries: Sequence[str]) -> list[FeatureFile]:
        names = expand_characters(entries)
        for name in names:
            if name not in self._files:
                self._files[name] = open_features(self.data_path, name, self.frame_stride)
        return [self._files[name] for name in names]

    def _groups_by_domain(self, split: str) -> tuple[WindowGroup, WindowGroup]:
        option = f"{split}_characters"
        files = self._open(self._lists[split])
        groups = {domain: [file for file in files if file.domain == domain] for domain in ("mixamo", "mano")}
        for domain, members in groups.items():
            if not members:
                names = ", ".join(dict.fromkeys(file.character for file in files)) or "nobody"
                raise InputError(
                    f"`{option}`: expected characters of both domains, found no {domain} character ({names}); add one"
                )
        return WindowGroup(groups["mixamo"], self.window_size), WindowGroup(groups["mano"], self.window_size)

    def _mixamo_group(self, option: str, entries: Sequence[str]) -> WindowGroup:
        files = self._open(entries)
        strangers = [file.character for file in files if file.domain != "mixamo"]
        if strangers or not files:
            raise InputError(
                f"`{option}`: expected Mixamo characters, found {', '.join(strangers) or 'none'}; "
                f"name others, or use `protocol` cross"
            )
        return WindowGroup(files, self.window_size)

    def _paired(self, split: str, first: WindowGroup, second: WindowGroup) -> PairedWindows:
        statistics = None
        if self.normalization:
            statistics = [[read_statistics(file) for file in group.files] for group in (first, second)]
        augment, new_pairs = (wanted and split == "train" for wanted in (self.data_augment, self.new_pairs))
        seed = self.seed if augment or new_pairs else 0
        windows = PairedWindows(first, second, augment, seed, statistics, new_pairs)
        for group, surplus in zip(windows.groups, windows.surplus, strict=True):
            if surplus and not new_pairs:
                log.info("%s: %d of %d windows of %s have no partner and are not used.",
                         split, surplus, len(group), some(list(dict.fromkeys(group.names))))  # fmt: skip
        self._report_rates(split, first, second)
        for other in self._windows.values():
            if other.side != windows.side:
                raise InputError(f"the {split} split has {windows.side} hands, another split {other.side} hands")
        return windows

    def _report_rates(self, split: str, first: WindowGroup, second: WindowGroup) -> None:
        files = [file for group in (first, second) for file in group.files]
        rates = sorted((rate, file.character) for file in files for rate in set(file.rates))
        if not rates or rates[-1][0] < _SIMILAR_RATES * rates[0][0]:
            return
        (slow, slower), (fast, faster) = rates[0], rates[-1]
        message = (
            "%s: %s run at %.3g frames per second but %s at %.3g; `frame_stride` (now %d) changes the rate of "
            "Mixamo motion, run.preprocess_mixhand with `resample` that of clips."
        )
        log.warning(message, split, slower, slow, faster, fast, self.frame_stride)

    def _loader(self, split: Split) -> PairLoader:
        windows, trainer = self.windows(split), self.trainer
        together = trainer.world_size if trainer else 1
        if trainer and together > 1 and split == "train":  # one seed for all, also where each process drew its own
            self._seed = windows.seed = trainer.strategy.broadcast(self.seed)
        order = BatchOrder(
            len(windows),
            self.batch_size,
            shuffle=split == "train",
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=together,
        )
        here = min(together, max(1, trainer.num_devices)) if trainer else 1
        workers = min(self.num_workers, max(1, processors() // here)) if self.num_workers else 0
        position = self._training_position if split == "train" and trainer else None
        return PairLoader(windows, order, workers, position)

    def _training_position(self) -> tuple[int, int]:
        """Epoch, and batches of it that were trained with, as the trainer counts them."""
        loop: Any = self.trainer and self.trainer.fit_loop
        return loop.epoch_progress.current.processed, loop.epoch_loop.batch_progress.current.ready
