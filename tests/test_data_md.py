"""DATA.md lists what the code's own tables hold."""

from pathlib import Path

import pytest

from data.motion import captured
from data.rig import schemes

TEXT = (Path(__file__).parents[1] / "DATA.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [schemes, captured], ids=["rigs", "keys"])
def test_tables_are_those_of_the_code(table):
    assert table.listing() in TEXT
