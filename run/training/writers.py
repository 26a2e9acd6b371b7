"""What `test` measured: a table to read and the files of results; what `predict` made, as one .npz."""

from __future__ import annotations

from typing import Any

import numpy as np
from pytorch_lightning.callbacks import Callback

from model.topology import hand_joint_names
from run.evaluation.statistics import merge_parts, summarise, write_results
from run.evaluation.tables import CEILINGS, count_note, print_table
from run.training.checkpoints import display_path
from run.training.processes import gathered, run_folder
from utils.files import atomic_write


class ResultsWriter(Callback):
    """Turns the records that the model kept during `test` into the table and the files.

    Args:
        about: what else results.json should say (checkpoint, data set, characters, …).
    """

    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about
        self._frames = 0

    def on_test_start(self, trainer, pl_module) -> None:
        """Start counting."""
        self._frames = 0

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        """Count the frames that were tested; overlapping windows count their common frames twice."""
        self._frames += int(np.prod(batch.first.batch_shape))

    def on_test_end(self, trainer, pl_module) -> None:
        """Print and write, on the first process, what all processes measured."""
        folder = run_folder(trainer)
        parts = gathered(trainer, (pl_module.test_records, self._frames))
        if parts is None:
            return
        records = merge_parts([part[0] for part in parts])
        methods = summarise(records)
        windows = max((v.numel() for d in records.values() for m in d.values() for v in m.values()), default=0)
        results = {
            "methods": methods,
            "windows": windows,
            "frames": sum(part[1] for part in parts),
            "ceilings": CEILINGS,
            "logged": {name: float(value) for name, value in trainer.callback_metrics.items()},
            **self.about,
        }
        print_table(methods, "Test", count_note(windows, results["frames"]))
        if folder is not None:
            written = write_results(folder, results)
            print("Written: " + ", ".join(display_path(path) for path in written), flush=True)


class PredictionWriter(Callback):
    """Keeps what `predict` made: predictions.npz beside the logs.

    Arrays are named {direction}/{quantity}: local_rotations (N, T, 21, 4) and tbs (N, T, 5, 3, 4) quaternions
    (w, x, y, z), joints (N, T, 21, 3) with the wrist at the origin, in the target's unit. N windows of T frames;
    source and target (N,) name their characters, joint_names (21,) the target's joints.
    """

    def __init__(self) -> None:
        self._collected: dict[str, list[np.ndarray]] = {}
        self._joint_names: dict[str, np.ndarray] = {}

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        """Collect a batch: {direction: {quantity: tensor}}."""
        groups = trainer.datamodule.windows("test").groups
        names = [np.array(g.names)[p.cpu().numpy()] for g, p in zip(groups, batch.positions.T, strict=True)]
        for direction, quantities in outputs.items():
            # The first group is Mixamo, or the target within a domain.
            source, target = (0, 1) if direction == "mixamo2mano" else (1, 0)
            found = {name: value.detach().cpu().numpy() for name, value in quantities.items()}
            for name, value in {**found, "source": names[source], "target": names[target]}.items():
                self._collected.setdefault(f"{direction}/{name}", []).append(value)
            domain = (batch.first, batch.second)[target].domain
            self._joint_names[f"{direction}/joint_names"] = np.array(hand_joint_names(domain, pl_module.side))

    def on_predict_end(self, trainer, pl_module) -> None:
        """Write, on the first process, what all processes made, as one file."""
        folder = run_folder(trainer)
        if folder is None:
            return
        parts = gathered(trainer, {name: np.concatenate(values) for name, values in self._collected.items()})
        if not parts or not parts[0]:
            return
        path = folder / "predictions.npz"
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **arrays, **self._joint_names)
        windows = max(len(values) for values in arrays.values())
        print(f"Written: {display_path(path)} ({windows} windows: {', '.join(sorted(arrays))})", flush=True)
