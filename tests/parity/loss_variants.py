"""The settings with which the reference losses were computed (their README), by file name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from model.asrn import ASRN
from model.dm import DM
from model.retargeting import Retargeting
from tests.helpers import SMALL, set_weights

ASRN_CONFIG = {"distance_weighted": True, "lambda_rf_unweighted": 0.05, "tbs_input_normalization": False}
DM_CONFIG = {"anatomical_loss_type": "axis", "lambda_anatomical": 0.01}
SETTINGS = {
    "tbs_asrn": (ASRN, {**ASRN_CONFIG, **SMALL}),
    "tbs_full": (ASRN, ASRN_CONFIG),
    "tbs_defaults": (ASRN, SMALL),
    "tbs_axis_masks": (
        ASRN,
        {
            **ASRN_CONFIG,
            **SMALL,
            "anatomical_loss_type": "axis",
            "rf_mask": [0, 1, 2, 5, 9, 17],
            "rp_mask": [0, 3, 8],
            "lambda_rf": 0.7,
            "lambda_rp": 0.4,
            "lambda_semi_rf": 0.3,
            "lambda_semi_rp": 0.2,
            "lambda_anatomical": 0.05,
        },
    ),
    "tbs_quaternion": (ASRN, {**ASRN_CONFIG, **SMALL, "pose_repr": "quaternion", "semi_supervised": False}),
    "dm_config": (DM, {**DM_CONFIG, **SMALL}),
    "dm_full": (DM, DM_CONFIG),
    "dm_euler": (
        DM,
        {
            **SMALL,
            "anatomical_loss_type": "euler",
            "lambda_anatomical": 0.1,
            "lambda_dm": 0.6,
            "lambda_semi_dm": 0.3,
        },
    ),
    "dm_quaternion": (
        DM,
        {**SMALL, "pose_repr": "quaternion", "anatomical_loss_type": "euler", "lambda_anatomical": 0.01},
    ),
}


def variant_names(golden: Path) -> list[str]:
    """Variants of which the folder of reference vectors has losses."""
    stems = [path.stem for path in sorted((golden / "losses").glob("*.npz"))]
    return [stem for stem in stems if stem != "batch" and not stem.endswith(("_state_dict", "_three_steps"))]


def build(golden: Path, models: Path, variant: str, dtype: torch.dtype = torch.float32) -> Retargeting:
    """The network of a variant, with its reference weights."""
    method, settings = SETTINGS[variant]
    with torch.random.fork_rng(devices=[]):
        model = method(
            smplx_model_path=str(models),
            mano_axis_path=str(golden / "inputs" / "mano_finger_axis.npz"),
            **settings,
        )
    with np.load(golden / "losses" / f"{variant}.npz") as reference:
        set_weights(model, int(reference["weight_seed"]))
    return model.to(dtype)
