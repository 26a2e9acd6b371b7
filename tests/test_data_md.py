"""DATA.md lists what the code's own tables hold."""

from pathlib import Path

import pytest

from data.motion import captured
from data.points import files, orders, table
from data.rig import schemes
from run.retargeting import listed

TEXT = (Path(__file__).parents[1] / "DATA.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("part", [schemes, captured, orders, files, table, listed], ids=lambda part: part.__name__)
def test_tables_are_those_of_the_code(part):
    assert part.listing() in TEXT
