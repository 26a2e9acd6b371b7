"""Pictures of validation hands in TensorBoard: how retargeting improves, at a glance."""

from __future__ import annotations

import numpy as np
import torch
from pytorch3d.transforms import quaternion_to_matrix
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger

from model.topology import ROOTS
from run.drawing.render import color_of, render_mesh
from run.drawing.surfaces import bone_hand

SIZE = (160, 160)  # pixels of one hand


class HandPictures(Callback):
    """Draws the middle frame of a few validation windows: the source in one row, the retargeted hand below.

    Args:
        every_n_epochs: draw after each so many epochs (and after the first and the last); 0 draws nothing.
        windows: how many windows, spread over the validation data.
    """

    def __init__(self, every_n_epochs: int = 10, windows: int = 6) -> None:
        self.every_n_epochs, self.windows = every_n_epochs, windows
        self._batch = None

    def on_validation_epoch_end(self, trainer, pl_module) -> None:
        """Draw, on the first process, if this epoch is due."""
        logger = next((lg for lg in trainer.loggers if isinstance(lg, TensorBoardLogger)), None)
        if logger is None or trainer.sanity_checking or not trainer.is_global_zero or trainer.state.fn != "fit":
            return
        epoch = trainer.current_epoch + 1
        if self.every_n_epochs < 1 or (epoch % self.every_n_epochs and epoch not in (1, trainer.max_epochs)):
            return
        batch = self._chosen(trainer, pl_module)
        for direction, picture in draw_batch(pl_module, batch).items():
            logger.experiment.add_image(f"val/{direction}", picture, trainer.global_step, dataformats="HWC")

    def _chosen(self, trainer, pl_module):
        """The windows to draw, the same ones every time; kept on the CPU."""
        if self._batch is None:
            loader = trainer.datamodule.val_dataloader()
            self._batch = spread(loader, self.windows)
        return pl_module.transfer_batch_to_device(self._batch, pl_module.device, 0)


def spread(loader, windows: int):
    """A batch of `windows` windows spread over the first batch of a loader."""
    batch = next(iter(loader))
    chosen = torch.linspace(0, len(batch) - 1, min(windows, len(batch))).round().long()
    return batch[chosen]


def draw_batch(module, batch) -> dict[str, np.ndarray]:
    """{direction: (height, width, 3) uint8}: sources above, results below, one column for each window."""
    was_training = module.training
    module.eval()
    with torch.no_grad():
        predicted = module.predict_step(batch, 0)
        own = [own_joints(module, hands) for hands in (batch.first, batch.second)]
    module.train(was_training)
    sources = {"mano2mixamo": own[1], "mixamo2mano": own[0], "intra": own[1]}
    side = module.side
    color = color_of(module.method)
    return {
        way: np.concatenate([_row(sources[way], side, color_of("source")), _row(made["joints"], side, color)])
        for way, made in predicted.items()
    }


def own_joints(module, hands) -> torch.Tensor:
    """Joints (B, T, 21, 3) of hands in their own recorded poses."""
    return module.shaped_hand(hands).with_tbs(quaternion_to_matrix(hands.tbs)).joints


def _row(joints: torch.Tensor, side: str, color: str) -> np.ndarray:
    """The middle frames of windows `joints` (B, T, 21, 3), side by side in palm lengths."""
    middle = joints[:, joints.shape[1] // 2].detach().double().cpu().numpy()
    middle = middle / np.linalg.norm(middle[:, ROOTS[0]], axis=-1)[:, None, None]
    vertices, faces = bone_hand(middle)
    return np.concatenate([render_mesh(v, faces, color=color, side=side, size=SIZE) for v in vertices], axis=1)
