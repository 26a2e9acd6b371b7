"""A MANO file as smplx's own model, for research that wants it. Nothing else here needs smplx.

smplx is for non-commercial research only (see README, Licence); hands are posed by :mod:`model.mano_body`.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import torch

from model.mano_file import find_model_file, read_mano_arrays
from utils.errors import InputError


def load_smplx(path: str | Path, side: str, dtype: torch.dtype = torch.float64):
    """The model of a side as `smplx.body_models.MANO`, from a file that is read without running anything in it.

    Raises:
        InputError: smplx is not installed, or the file is missing, damaged or no MANO model.
    """
    try:
        from smplx.body_models import MANO  # optional, and slow to import
        from smplx.utils import Struct
    except ImportError as error:
        raise InputError("smplx is not installed; run `pip install 'smplx>=0.1.28,<0.2'`") from error
    file = find_model_file(path, side)
    arrays = read_mano_arrays(file)
    with contextlib.redirect_stdout(io.StringIO()):  # its remark on every model of ten shape components
        model = MANO(
            model_path=str(file),
            is_rhand=side == "right",
            data_struct=Struct(**arrays, J=arrays["J_regressor"] @ arrays["v_template"]),
            use_pca=False,
            flat_hand_mean=True,
            dtype=dtype,
        )
    return model.requires_grad_(False)
