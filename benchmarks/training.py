"""Training steps and their parts, in units of one network's bare forward pass measured in the same run.

The bare pass is the network of the published width as it is usually written (static code repeated over time and
concatenated), B = 64 windows of T = 8 frames, without gradient. The published program needs about 59 such units for a
training step of ASRN, of which the networks alone take 14.5; 47/22 units for the joints of 512 MANO poses, forward and
backward; and 61/22 for the semantic matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from pytorch3d.transforms import random_rotations
from smplx.lbs import lbs
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import measure, row
from data.features.row import HandFeatures, split
from model.asrn import ASRN
from model.dm import DM
from model.mano import ManoHand
from model.reconstruction import ReconstructionNet
from model.retargeting import Retargeting
from model.semantics import palm_anchors, palm_length, semantic_matrix
from model.topology import MANO_TO_HAND

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
BATCH, TIME = 64, 8
HAND_FILES = {
    "smplx_model_path": str(GOLDEN / "inputs" / "mano_right.npz"),
    "mano_axis_path": str(GOLDEN / "inputs" / "mano_finger_axis.npz"),
}


def training_batch(device: str = "cpu") -> SimpleNamespace:
    """64 windows of 8 frames of both domains, of the golden vectors."""
    windows = np.load(GOLDEN / "losses" / "batch.npz")

    def group(domain: str) -> HandFeatures:
        rows = torch.from_numpy(windows[domain]).transpose(1, 2)
        return split(domain, rows.repeat(-(-BATCH // len(rows)), 1, 1)[:BATCH].contiguous().to(device))

    return SimpleNamespace(first=group("mixamo"), second=group("mano"), share=1.0)


def _bare_forward(net: ReconstructionNet, x: Tensor, static: Tensor) -> Tensor:
    for block, static_block in zip(net.res_blocks, net.static_blocks, strict=True):
        code = static_block(static).unsqueeze(-1).expand(-1, -1, x.shape[-1])
        y = torch.cat([x, code], dim=1)
        x = F.leaky_relu(block.net(y) + block.resample(y), 0.2)
    return x


def _tasks_of(module: Retargeting, batch: SimpleNamespace) -> dict[str, Callable]:
    module.log_dict = lambda *args, **kwargs: None  # a step without a trainer
    optimizer = torch.optim.Adam([{"params": list(net.parameters())} for net in module.recon_nets], fused=True)
    net = module.recon_nets[0]
    width = net.res_blocks[0].moving
    x, static = torch.randn(BATCH, width, TIME), torch.randn(BATCH, net.static_blocks[0].net[0].in_channels)

    @torch.no_grad()
    def bare() -> None:
        _bare_forward(net, x, static)

    def networks_alone() -> None:
        """Both networks on both groups as they are usually written, forward and backward."""
        optimizer.zero_grad()
        for each in module.recon_nets:
            for _ in range(2):
                inputs = torch.randn(BATCH, each.res_blocks[0].moving, TIME)
                codes = torch.randn(BATCH, each.static_blocks[0].net[0].in_channels)
                _bare_forward(each, inputs, codes).square().mean().backward()

    def step() -> None:
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        module.configure_gradient_clipping(optimizer, 0.5)
        optimizer.step()

    @torch.no_grad()
    def validate() -> None:
        module.validation_step(batch, 0)

    return {"bare": bare, "networks": networks_alone, "step": step, "validation": validate}


def _hand_tasks() -> dict[str, Callable]:
    hand = ManoHand.load(HAND_FILES["smplx_model_path"], HAND_FILES["mano_axis_path"], "right")
    poses = BATCH * TIME
    betas, weight = torch.randn(poses, 10), torch.randn(poses, 21, 3)
    local = random_rotations(poses * 15).reshape(poses, 5, 3, 3, 3).requires_grad_()
    whole = random_rotations(poses * 16).reshape(poses, 16, 3, 3).requires_grad_()
    buffers = [
        getattr(hand.model, name).float() if getattr(hand.model, name).is_floating_point() else hand.model.parents
        for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "parents", "lbs_weights")
    ]

    def mano_joints() -> None:
        local.grad = None
        hand.with_shape(betas).with_local_rotations(local).joints.backward(weight)

    def mano_joints_from_surface() -> None:
        """The same through all 778 vertices."""
        whole.grad = None
        vertices, _ = lbs(betas, whole, *buffers, pose2rot=False)
        regressed = torch.einsum("jv,bvx->bjx", buffers[3], vertices)
        joints = torch.cat([regressed, vertices[:, [333, 444, 672, 555, 744]]], dim=1)[:, list(MANO_TO_HAND)]
        (joints - joints[:, :1]).backward(weight)

    joints = torch.randn(BATCH, TIME, 21, 3, requires_grad=True)
    frames = random_rotations(poses * 20).reshape(BATCH, TIME, 20, 3, 3).requires_grad_()
    ahead = torch.randn(BATCH, TIME, 20, 20, 3), torch.randn(BATCH, TIME, 20, 9, 3)

    def semantics() -> None:
        joints.grad = frames.grad = None
        torch.autograd.backward(semantic_matrix(joints, frames), ahead)

    def semantics_per_joint() -> None:
        """The same, joint by joint."""
        joints.grad = frames.grad = None
        points, scale = torch.cat([joints[..., 1:, :], palm_anchors(joints)], dim=-2), palm_length(joints)
        rows = [
            torch.einsum("...dc,...jd->...jc", frames[..., i, :, :], points - points[..., i : i + 1, :])
            for i in range(20)
        ]
        coords = torch.stack(rows, dim=-3) / scale[..., None, None, None]
        torch.autograd.backward([coords[..., :20, :], coords[..., 20:, :]], ahead)

    return {
        "mano": mano_joints,
        "mano_surface": mano_joints_from_surface,
        "semantics": semantics,
        "semantics_naive": semantics_per_joint,
    }


def run() -> list[dict]:
    """Rows of the benchmark table."""
    torch.manual_seed(0)
    batch, rows = training_batch(), []
    asrn = ASRN(distance_weighted=True, lambda_rf_unweighted=0.05, tbs_input_normalization=False, **HAND_FILES)
    dm = DM(anatomical_loss_type="axis", lambda_anatomical=0.01, **HAND_FILES)
    for name, module in (("ASRN", asrn), ("DM", dm)):
        tasks = _tasks_of(module, batch)
        times = measure(tasks)
        unit = times["bare"]
        rows.append(row(f"{name}: one network's bare forward pass", unit * 1e3, "ms", "itself", 1.0))
        for task, label in (
            ("step", "training step"),
            ("networks", "both networks alone, written plainly, forward + backward"),
            ("validation", "validation step"),
        ):
            rows.append(row(f"{name}: {label}", times[task] * 1e3, "ms", f"{name} bare pass", times[task] / unit))
        if name == "ASRN":
            rows += _hand_rows(tasks["bare"])
    return rows


def _hand_rows(bare: Callable) -> list[dict]:
    times = measure({"bare": bare, **_hand_tasks()})
    labels = {
        "mano": "512 MANO poses to joints, forward + backward",
        "mano_surface": "  the same through smplx's whole surface",
        "semantics": "semantic matrix, 512 poses, forward + backward",
        "semantics_naive": "  the same joint by joint",
    }
    return [
        row(text, times[key] * 1e3, "ms", "ASRN bare pass", times[key] / times["bare"]) for key, text in labels.items()
    ]
