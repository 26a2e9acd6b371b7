"""A stream of frames to train with: sources in poses, and targets, most of them drawn anew (mathematics §21)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from data.features.file import FeatureFile
from data.features.row import split
from data.mixhand import MixHandDataModule
from data.random_hands import Draw, random_angles, random_hands, shaken, warped_hands
from model.batch import HandModels, Hands
from model.feedback.chain import Chain
from model.feedback.module import StreamBatch
from model.hands import ShapedHand, offset_hand
from model.kinematics import tbs_from_angles
from model.mirror import mirror_axes, mirror_points, mirror_tbs
from model.optimizer import CONTACT_WEIGHT, OptimizerSettings, optimise
from model.topology import N_JOINTS, PINKY, RING, ROOTS
from utils.errors import InputError


@dataclass(frozen=True)
class Bank:
    """The training hands, as right hands, and their motion."""

    offsets: Float[Tensor, "hands 21 3"]
    axes: Float[Tensor, "hands 5 4 3 3"]
    tbs: Float[Tensor, "frames 5 3 3 3"]
    owner: Int[Tensor, " frames"]
    """Whose motion it is."""

    def hands(self, which: Int[Tensor, " some"]) -> ShapedHand:
        """Some of the hands."""
        return offset_hand(self.offsets[which], self.axes[which], "right")

    @staticmethod
    def of(files: list[FeatureFile], models: HandModels) -> Bank:
        """All frames of feature files, thinned out as their stride says; hands that lack fingers are completed."""
        parts: list[tuple[Tensor, ...]] = []
        first = 0
        for file in files:
            features = split(file.domain, torch.from_numpy(_kept_rows(file)), file.side)
            if file.missing:
                present = torch.ones(len(features.rows), N_JOINTS, dtype=torch.bool)
                present[:, list(file.missing)] = False
                features.present = present
            static = features.offsets.flatten(1) if file.domain == "mixamo" else features.shape
            _, owner = torch.unique(static, dim=0, return_inverse=True)
            one_each = torch.stack([(owner == hand).nonzero()[0, 0] for hand in range(int(owner.max()) + 1)])
            shaped = models.shaped_hand(cast(Hands, features[one_each][:, None]))
            offsets, axes, tbs = shaped.offsets[:, 0], shaped.axes[:, 0], quaternion_to_matrix(features.tbs)
            if file.side == "left":
                offsets, axes, tbs = mirror_points(offsets), mirror_axes(axes), mirror_tbs(tbs)
            parts.append((offsets.float(), axes.float(), tbs, owner + first))
            first += len(offsets)
        return Bank(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _kept_rows(file: FeatureFile) -> np.ndarray:
    ends = file.clip_ends()
    starts = ends - [clip.frames for clip in file.clips]
    return np.concatenate([file.rows[start : end : file.stride] for start, end in zip(starts, ends, strict=True)])


@dataclass(frozen=True)
class Shares:
    """What the stream is made of.

    Attributes:
        motion: of the sources, those that are training hands in their motion.
        solved: those that are random hands in poses solved to mean what the motion does, touches closed. The rest
            are random hands in random poses.
        fresh: of the targets, those drawn at random; the rest are training hands.
        warped: of those, training hands of other proportions.
        beyond: of the poses, those turned at random, beyond the limits too.
        missing: of the pairs, those without a pinky or a ring finger.
    """

    motion: float = 0.45
    solved: float = 0.4
    fresh: float = 0.85
    warped: float = 0.25
    beyond: float = 0.25
    missing: float = 0.1

    def __post_init__(self) -> None:
        bad = [name for name, share in vars(self).items() if not 0 <= share <= 1]
        if bad or self.motion + self.solved > 1:
            raise InputError(
                f"`shares`: expected shares from 0 to 1, motion and solved together at most 1; found {self}"
            )


class HandStream(IterableDataset):
    """Batches of an epoch.

    Each epoch, and each worker, draws ``pool`` hands of its own, once, and combines them in its batches.

    Args:
        bank: the training hands.
        shares: what it is made of.
        frames: of a batch.
        batches: of an epoch, in all workers together.
        pool: random hands of an epoch.
        seed: of everything.
    """

    def __init__(self, bank: Bank, shares: Shares, frames: int, batches: int, pool: int, seed: int) -> None:
        self.bank, self.shares, self.frames, self.batches = bank, shares, frames, batches
        self.pool, self.seed, self.epoch = pool, seed, 0
        self._bank_rows = Chain.of(bank.hands(torch.arange(len(bank.offsets)))).rows()

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[StreamBatch]:
        info = get_worker_info()
        number, workers = (0, 1) if info is None else (info.id, info.num_workers)
        seed = np.random.SeedSequence([self.seed, self.epoch, number]).generate_state(1, np.uint64)[0]
        draw = Draw(torch.Generator().manual_seed(int(seed % 2**63)))
        with torch.no_grad():
            pool, solved = self.drawn(draw)
            for _ in range(number, self.batches, workers):
                yield self.batch(pool, solved, draw)

    def drawn(self, draw: Draw) -> tuple[Float[Tensor, "pool 240"], Float[Tensor, "pool 5 3 3 3"]]:
        """Random hands as chains, and a pose of each that means what a frame of the training motion does."""
        warped = round(self.pool * self.shares.warped)
        parts = [random_hands(self.pool - warped, draw)]
        if warped:
            parts.append(warped_hands(self.bank.hands(draw.number(len(self.bank.offsets), warped)), draw))
        offsets, axes = torch.cat([each.offsets for each in parts]), torch.cat([each.axes for each in parts])
        hands = offset_hand(offsets, axes, "right")
        frames = draw.number(len(self.bank.tbs), self.pool)
        tbs = self.bank.tbs[frames]
        if self.shares.solved:
            matrix = self.bank.hands(self.bank.owner[frames]).with_tbs(tbs).semantic_matrix()
            tbs = optimise(hands, matrix, tbs, OptimizerSettings(contact_weight=CONTACT_WEIGHT)).tbs
        return Chain.of(hands).rows(), tbs

    def batch(self, pool: Float[Tensor, "pool 240"], solved: Float[Tensor, "pool 5 3 3 3"], draw: Draw) -> StreamBatch:
        """One batch."""
        moving, posed = (round(self.frames * share) for share in (self.shares.motion, self.shares.solved))
        wild = self.frames - moving - posed
        frames, own, others = (draw.number(len(part), count) for part, count in
                               ((self.bank.tbs, moving), (pool, posed), (pool, wild)))  # fmt: skip
        source = torch.cat([self._bank_rows[self.bank.owner[frames]], pool[own], pool[others]])
        tbs = torch.cat([self.bank.tbs[frames], solved[own], tbs_from_angles(random_angles(wild, draw))])
        fresh = round(self.frames * self.shares.fresh)
        target = torch.cat([
            pool[draw.number(len(pool), fresh)],
            self._bank_rows[draw.number(len(self._bank_rows), self.frames - fresh)],
        ])[torch.randperm(self.frames, generator=draw.generator)]  # fmt: skip
        return StreamBatch(source, target, shaken(tbs, self.shares.beyond, draw), self._present(draw))

    def _present(self, draw: Draw) -> Bool[Tensor, "frames 21"]:
        present = torch.ones(self.frames, N_JOINTS, dtype=torch.bool)
        lacking = torch.rand(self.frames, generator=draw.generator) < self.shares.missing
        ring = draw.number(4, self.frames) == 0
        for finger, which in ((PINKY, lacking & ~ring), (RING, lacking & ring)):
            present[:, ROOTS[finger] : ROOTS[finger] + 4] &= ~which[:, None]
        return present


class StreamLoader:
    """Iterates over the batches of an epoch; Lightning takes it as any iterable with a length."""

    def __init__(self, stream: HandStream, num_workers: int, epoch: Any) -> None:
        self.dataset, self._epoch = stream, epoch
        self._loader = DataLoader(stream, batch_size=None, num_workers=num_workers, generator=torch.Generator())

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[StreamBatch]:
        self.dataset.epoch = self._epoch()
        yield from self._loader


class StreamDataModule(MixHandDataModule):
    """Trains on a stream of hands drawn anew, made of the training characters; validates and tests as ever.

    Args:
        frames: of a training batch.
        batches: of an epoch.
        pool: random hands drawn in each epoch.
        shares: what the stream is made of.
        kwargs: of :class:`data.mixhand.MixHandDataModule`.
    """

    def __init__(
        self, frames: int = 256, batches: int = 200, pool: int = 4096, shares: Shares = Shares(), **kwargs: Any
    ):  # noqa: B008
        super().__init__(**kwargs)
        for name, value in (("frames", frames), ("batches", batches), ("pool", pool)):
            if value < 1:
                raise InputError(f"`{name}`: expected at least 1, found {value}")
        self.frames, self.batches, self.pool, self.shares = frames, batches, pool, shares or Shares()
        self._stream: HandStream | None = None

    def train_dataloader(self) -> StreamLoader:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Batches of the stream."""
        trainer: Any = self.trainer
        if self._stream is None:
            files = list({id(file): file for group in self.windows("train").groups for file in group.files}.values())
            bank = Bank.of(files, cast(HandModels, trainer.lightning_module.hand_models))
            seed = self.seed + (trainer.global_rank if trainer.world_size > 1 else 0)
            self._stream = HandStream(bank, self.shares, self.frames, self.batches, self.pool, seed)
        return StreamLoader(self._stream, self.num_workers, lambda: trainer.fit_loop.epoch_progress.current.processed)
