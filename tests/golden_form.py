"""The form of a folder of reference vectors: which files it must hold. Its README says what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

VARIANTS = (
    "tbs_asrn", "tbs_defaults", "tbs_axis_masks", "tbs_quaternion", "tbs_full",
    "dm_config", "dm_euler", "dm_quaternion", "dm_full",
)  # fmt: skip
"""Settings of the networks whose losses are there; ``*_full`` has the published width."""
FILES = (
    "anatomical.npz", "axis_estimation.npz", "rest_pose.npz", "rotations.npz", "skinning.npz", "tbs_optimizer.npz",
    "windows.npz", "state_dict_manifest.json",
    *(f"geometry_{domain}_{side}.npz" for domain in ("mixamo", "mano") for side in ("right", "left")),
    "inputs/mano_right.npz", "inputs/mano_left.npz", "inputs/mano_finger_axis.npz",
    "interhand/annotations.json", "interhand/expected.npz",
    "losses/batch.npz", "losses/tbs_small_state_dict.npz", "losses/dm_small_state_dict.npz",
    *(f"losses/{variant}.npz" for variant in VARIANTS),
    "losses/tbs_full_three_steps.npz", "losses/dm_full_three_steps.npz",
)  # fmt: skip
"""What every folder has. Clips, converted motions and characters have names of their own, see :func:`missing`."""


def mixamo_clips(folder: Path) -> list[str]:
    """Names of the clips of characters in a folder of reference vectors."""
    return sorted(path.stem for path in (folder / "bvh").glob("*.bvh") if not path.stem.startswith("mano"))


def mano_clips(folder: Path) -> list[str]:
    """Names of the clips of parametric hands."""
    return sorted(path.stem for path in (folder / "bvh").glob("mano*.bvh"))


def estimated_characters(folder: Path) -> list[str]:
    """Characters of which there are estimated axes."""
    with np.load(folder / "axis_estimation.npz") as arrays:
        ending = "_right_joint"
        return sorted({key.removesuffix(ending) for key in arrays.files if key.endswith(ending)} - {"mano"})


def missing(folder: Path) -> list[str]:
    """What a folder of reference vectors lacks, as paths below it; empty: it is of the form."""
    lacking = [name for name in FILES if not (folder / name).is_file()]
    if lacking:
        return lacking
    wanted = [f"bvh/{clip}_features.npz" for clip in (*mixamo_clips(folder), *mano_clips(folder))]
    wanted += [f"bvh/{clip}.npy" for clip in mano_clips(folder)]
    with np.load(folder / "interhand" / "expected.npz") as arrays:
        motions = {key.partition("|")[0] for key in arrays.files}
    wanted += [f"interhand/expected/{name}.{ending}" for name in sorted(motions) for ending in ("bvh", "npy")]
    wanted += [
        f"inputs/{name}_{part}.npz" for name in sorted(_characters(folder)) for part in ("mesh_data", "finger_axis")
    ]
    lacking = [name for name in wanted if not (folder / name).is_file()]
    empty = {
        "bvh/mixamo_clip_*.bvh": mixamo_clips(folder),
        "bvh/mano_clip.bvh": mano_clips(folder),
        "interhand/expected/*.bvh": motions,
        "characters in axis_estimation.npz": estimated_characters(folder),
    }
    return lacking + [what for what, found in empty.items() if not found]


def _characters(folder: Path) -> set[str]:
    """Characters that any of the arrays speaks of."""
    names = set(estimated_characters(folder))
    named = {
        "skinning.npz": ("right_character", "left_character"),
        "tbs_optimizer.npz": ("source_character", "target_character"),
        **{f"bvh/{clip}_features.npz": ("character",) for clip in mixamo_clips(folder)},
    }
    for file, keys in named.items():
        if (folder / file).is_file():
            with np.load(folder / file) as arrays:
                names |= {str(arrays[key]) for key in keys}
    return names
