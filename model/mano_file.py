"""Files of the MANO model and of its axes, read without running anything from them (mathematics §3, §7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.mano_body import ManoBody
from model.topology import MANO_TIP_VERTICES, N_FINGERS, N_SHAPE, check_side
from utils.errors import InputError
from utils.safe_read import read_npz, read_pickle

N_BONES = 16
N_POSE_FEATURES = 9 * (N_BONES - 1)


def find_model_file(path: str | Path, side: str) -> Path:
    """The MANO file of a side: ``path`` itself, or ``MANO_<SIDE>.{pkl,npz}`` in it or in its folder ``mano``."""
    path = Path(path)
    if path.is_file():
        return path
    name = f"MANO_{check_side(side).upper()}"
    candidates = [folder / f"{name}{end}" for folder in (path / "mano", path) for end in (".pkl", ".npz")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{path}: expected a MANO model here ({name}.pkl or {name}.npz, in this folder or in its folder 'mano'), "
        f"found none. Download MANO from https://mano.is.tue.mpg.de, or build the open hand with "
        f"`python -m run.build_open_hands`, and point `smplx_path` to its folder 'models'."
    )


def read_mano_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a MANO file (``.pkl`` or ``.npz``), checked, as float64 and int64.

    Keys: v_template (V,3) metres, f (F,3), shapedirs (V,3,10), posedirs (V,3,135), J_regressor (16,V) dense,
    weights (V,16), kintree_table (2,16), hands_mean (45), hands_components (45,45), and tip_vertices (5) in the
    order index, middle, pinky, ring, thumb (MANO's own unless the file brings others).

    Raises:
        InputError: an array is missing or has another shape than the rest of the file asks for.
    """
    raw = read_npz(path) if path.suffix == ".npz" else read_pickle(path)
    if not isinstance(raw, Mapping):
        raise InputError(f"{path}: expected a MANO model (a dictionary of arrays), found {type(raw).__name__}.")
    import scipy.sparse  # a sixth of a second, which hands that are no MANO hands need not wait for

    data: dict[str, Any] = dict(raw)
    if "J_regressor" not in data and "J_regressor_data" in data:
        parts = tuple(np.asarray(data[f"J_regressor_{part}"]) for part in ("data", "indices", "indptr"))
        data["J_regressor"] = scipy.sparse.csc_matrix(parts, shape=tuple(np.asarray(data["J_regressor_shape"])))
    needed = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
    missing = [key for key in needed if key not in data]
    if missing:
        raise InputError(f"{path}: not a MANO model: it lacks {', '.join(missing)}.")
    if scipy.sparse.issparse(data["J_regressor"]):
        data["J_regressor"] = data["J_regressor"].toarray()

    # The published system keeps the model in single precision; so its numbers are these, whatever we compute in.
    with np.errstate(all="ignore"):  # whatever is too large becomes infinite, and is refused below
        single = {key: np.asarray(data[key], dtype=np.float64).astype(np.float32) for key in needed}
    arrays: dict[str, np.ndarray] = {key: array.astype(np.float64) for key, array in single.items()}
    arrays["hands_mean"] = np.asarray(data.get("hands_mean", np.zeros(45)), dtype=np.float64)
    arrays["hands_components"] = np.asarray(data.get("hands_components", np.eye(45)), dtype=np.float64)
    arrays["f"] = arrays["f"].astype(np.int64)
    # The root's parent is stored as the largest 32-bit number in some files.
    arrays["kintree_table"] = np.where(arrays["kintree_table"] >= N_BONES, -1, arrays["kintree_table"]).astype(
        np.int64
    )
    arrays["tip_vertices"] = np.asarray(data.get("tip_vertices", MANO_TIP_VERTICES), dtype=np.int64)
    arrays["shapedirs"] = arrays["shapedirs"][..., :N_SHAPE]
    _check_shapes(path, arrays)
    return arrays


def _check_shapes(path: Path, arrays: dict[str, np.ndarray]) -> None:
    n = len(arrays["v_template"])
    expected = {
        "v_template": (n, 3),
        "shapedirs": (n, 3, N_SHAPE),
        "posedirs": (n, 3, N_POSE_FEATURES),
        "J_regressor": (N_BONES, n),
        "weights": (n, N_BONES),
        "kintree_table": (2, N_BONES),
        "tip_vertices": (5,),
        "hands_mean": (45,),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise InputError(f"{path}: expected {key} of shape {shape}, found {arrays[key].shape}.")
        if not np.isfinite(arrays[key]).all():
            raise InputError(f"{path}: {key} holds NaN or infinite numbers.")
    for key in ("f", "tip_vertices"):
        if arrays[key].size and not (arrays[key].min() >= 0 and arrays[key].max() < n):
            raise InputError(f"{path}: {key} names vertices outside 0…{n - 1}.")
    parents = arrays["kintree_table"][0]
    if not ((parents[1:] >= 0) & (parents[1:] < np.arange(1, N_BONES))).all():
        raise InputError(f"{path}: kintree_table: every bone must come after its parent; found {parents.tolist()}.")


def load_mano(path: str | Path, side: str) -> tuple[ManoBody, np.ndarray]:
    """Load a side's model in float64, without running anything from the file.

    The distributed left model's shape directions are not mirrored along x as its other arrays are; they are
    recognised by being (nearly) equal to the right model's, and their x-part is then negated (mathematics §3). The
    right model is looked for beside the left one.

    Returns:
        The model, and the five tip vertices (index, middle, pinky, ring, thumb).
    """
    file = find_model_file(path, side)
    arrays = read_mano_arrays(file)
    if side == "left":
        right_file = file.with_name(file.name.replace("LEFT", "RIGHT"))
        if right_file != file and right_file.is_file():
            right = read_mano_arrays(right_file)["shapedirs"]
            left = arrays["shapedirs"]
            if left.shape == right.shape and np.abs(left[:, 0] - right[:, 0]).sum() < 1:
                left[:, 0] *= -1
    return ManoBody.of(arrays), arrays["tip_vertices"]


@dataclass(frozen=True)
class ManoAxes:
    """The annotated axes of a MANO hand (mathematics §7): a finger's twist, bend, splay, and what bend is tied to."""

    rows: Float[Tensor, "5 3 3"]
    bend_triangles: Int[Tensor, "5 2"] | None = None  # faces hit along −bend and +bend
    bend_barycentric: Float[Tensor, "5 2 3"] | None = None  # where in them

    @staticmethod
    def read(source: str | Path | Mapping, side: str) -> ManoAxes:
        """Read ``mano_finger_axis.pkl`` (or ``.npz``, or a mapping with its keys) for one side."""
        if isinstance(source, Mapping):
            data = source
        else:
            data = read_npz(source) if str(source).endswith(".npz") else read_pickle(source)
        name = f"{check_side(side)[0]}hand"
        if not isinstance(data, Mapping) or name not in data:
            raise InputError(
                f"{source}: expected MANO finger axes with the key '{name}' for the {side} hand; not found."
            )
        rows = torch.as_tensor(np.asarray(data[name], dtype=np.float64))
        if rows.shape != (N_FINGERS, 3, 3) or not rows.isfinite().all():
            raise InputError(f"{source}: '{name}' should be 5×3×3 finite numbers (rows twist, bend, splay).")
        triangles, barycentric = data.get(f"{name}_bend_index_tri"), data.get(f"{name}_bend_bary")
        if triangles is None or barycentric is None:
            return ManoAxes(rows)
        triangles = torch.as_tensor(np.asarray(triangles, dtype=np.int64))
        barycentric = torch.as_tensor(np.asarray(barycentric, dtype=np.float64))
        if triangles.shape != (N_FINGERS, 2) or barycentric.shape != (N_FINGERS, 2, 3):
            raise InputError(f"{source}: '{name}_bend_index_tri' should be 5×2 and '{name}_bend_bary' 5×2×3.")
        if triangles.min() < 0 or not barycentric.isfinite().all():
            raise InputError(f"{source}: '{name}_bend_index_tri' should count from 0, '{name}_bend_bary' be finite.")
        return ManoAxes(rows, triangles, barycentric)
