"""How the project is installed: in place (`pip install --editable .`), with what requirements.txt names."""

from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class Requirements(MetadataHookInterface):
    """Dependencies are written down once, in requirements.txt."""

    def update(self, metadata: dict) -> None:
        lines = Path(self.root, "requirements.txt").read_text().splitlines()
        metadata["dependencies"] = [line for line in (each.partition("#")[0].strip() for each in lines) if line]


class InPlace(BuildHookInterface):
    """A wheel would put folders named data, model, run and utils into everybody's site-packages."""

    def initialize(self, version: str, build_data: dict) -> None:
        if self.target_name == "wheel" and version != "editable":
            raise RuntimeError("semantics2hands is used from its folder: pip install --editable .")
