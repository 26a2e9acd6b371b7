"""Where everything of a data set lies: the layout of a MixHand folder (DATA.md), spelled here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from data import choices
from data.formats.skeleton import MESH_END
from utils.errors import InputError

AXES_ENDINGS = ("_finger_axis.pkl", "_finger_axis.npz")
"""The published ending is written; both are read."""
MANO_FOLDER = Path(choices.MANO_FOLDER)
"""Where MANO is looked for if a data set has no model of its own."""
_BESIDE_CHARACTERS = ("std_bvhs", "mean_var", "ref", "finger_data", "models")
_MANO = "mano"


class MixHandFolder:
    """The folder of a data set, raw or preprocessed; whether its files are there is seen when they are asked for.

    Args:
        path: of the folder, which need not exist.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    @property
    def finger_data(self) -> Path:
        """The folder of meshes and axes."""
        return self.path / "finger_data"

    @property
    def models(self) -> Path:
        """The folder of the data set's own hand model."""
        return self.path / "models"

    @property
    def splits(self) -> Path:
        """The file that lists the splits; only the open data set has one."""
        return self.path / "splits.yaml"

    def features(self, name: str) -> Path:
        """The feature file of a character; beside it lies its description, ``.json``."""
        return self.path / f"{name}.npy"

    def with_features(self) -> list[str]:
        """Names of the characters that have a feature file, sorted."""
        files = (path for path in self.path.glob("*.npy") if path.is_file() and not path.name.startswith("."))
        return sorted(path.stem for path in files)

    def statistics(self, name: str) -> tuple[Path, Path]:
        """The files of the mean and the deviation (published as "var") of a character's channels."""
        folder = self.path / "mean_var"
        return folder / f"{name}_mean.npy", folder / f"{name}_var.npy"

    def source(self, name: str) -> Path:
        """What is written down of a character that was converted: from which files, and what was made."""
        return self.finger_data / f"{name}_source.json"

    def is_ours(self, name: str) -> bool:
        """Whether a character was made by this project: then preprocessing changes rates, unless it is told not to."""
        return self.splits.is_file() or self.source(name).is_file()

    def mesh(self, name: str) -> Path:
        """The mesh file of a character."""
        return _mesh(self.finger_data, name)

    def axes(self, name: str) -> Path:
        """The axes file of a character: the one that is there, else the one that should be."""
        return axes_of(self.mesh(name))

    @property
    def mano_axes(self) -> Path:
        """The axes file of the MANO hand: the one that is there, else the one that should be."""
        return self.axes(_MANO)

    def mano_model(self, given: str | os.PathLike | None = None) -> Path:
        """Where MANO lies: where the user says, else in the data set's own models, else in the usual folder."""
        return Path(given) if given is not None else self.models if self.models.is_dir() else MANO_FOLDER

    def meshes(self) -> dict[str, Path]:
        """Character → its mesh file, of all that have one, sorted."""
        return {character_of(path): path for path in meshes_in(self.finger_data)}

    def with_axes(self) -> list[str]:
        """Names of the characters that have an axes file, sorted."""
        found = {p.name.removesuffix(end) for end in AXES_ENDINGS for p in self.finger_data.glob(f"*{end}")}
        return sorted(found - {_MANO})

    def motions(self, name: str) -> list[Path]:
        """The BVH files of a character or subject, sorted; none if it has no folder."""
        return sorted(
            path for path in (self.path / name).glob("*") if path.suffix.lower() == ".bvh" and path.is_file()
        )

    def moving(self) -> list[str]:
        """Names of the characters and subjects that have motions, sorted; none if the folder does not exist."""
        folders = (each for each in self.path.glob("*") if each.is_dir() and each.name not in _BESIDE_CHARACTERS)
        return sorted(folder.name for folder in folders if self.motions(folder.name))

    def character_files(self, name: str) -> tuple[Path, Path]:
        """(mesh file, axes file) of a character. Raises InputError if one of them does not exist."""
        return character_files(self.finger_data, name)

    def mano_axes_file(self) -> Path:
        """`mano_axes`. Raises InputError if there is no such file."""
        if not self.mano_axes.is_file():
            raise InputError(
                f"{self.mano_axes}: expected the axes of the MANO hand, found nothing; make them with "
                "run.calculate_mano_axis or copy them there"
            )
        return self.mano_axes


def meshes_in(folder: Path) -> list[Path]:
    """The mesh files of a folder, sorted."""
    return sorted(folder.glob(f"*{MESH_END}"))


def character_of(mesh: Path) -> str:
    """The character whose mesh file this is."""
    return mesh.name.removesuffix(".npz").removesuffix(MESH_END.removesuffix(".npz"))


def axes_of(mesh: Path) -> Path:
    """The axes file beside a mesh file: the one that is there, else the one that should be."""
    candidates = [mesh.with_name(f"{character_of(mesh)}{ending}") for ending in AXES_ENDINGS]
    return next((path for path in candidates if path.is_file()), candidates[0])


def character_files(folder: str | os.PathLike, name: str) -> tuple[Path, Path]:
    """(mesh file, axes file) of a character in a folder of such files; the axes may be ``.pkl`` or ``.npz``.

    Raises:
        InputError: one of them does not exist.
    """
    mesh = _mesh(Path(folder), name)
    files = mesh, axes_of(mesh)
    for path in files:
        if not path.is_file():
            raise InputError(
                f"{path}: expected this file of the character {name}, found nothing; make it "
                "(run.convert_character, run.calculate_mixamo_axis) or correct the name"
            )
    return files


def _mesh(folder: Path, name: str) -> Path:
    return folder / f"{name}{MESH_END}"
