"""The table that the axis tools print."""

from types import SimpleNamespace

from model.topology import FINGERS
from run.axes.reports import confidence_table


def test_each_finger_has_its_confidence_or_what_is_wrong_with_it():
    evidence = [SimpleNamespace(source="mesh"), SimpleNamespace(source="bend")]
    words = dict(zip(FINGERS, ("sure", "fair", "doubtful", "missing", "sure"), strict=True))
    fingers = [SimpleNamespace(word=word, confidence=0.9 - 0.1 * n, error=5.0 + n, evidence=evidence[: 1 + n % 2])
               for n, word in enumerate(words.values())]  # fmt: skip
    estimate = SimpleNamespace(fingers=fingers, opening=[FINGERS[4]], hand=SimpleNamespace(side="left"))
    table = confidence_table([estimate], "Axes")
    cells = [list(column.cells)[0] for column in table.columns]
    assert cells == ["left", "[green]90% ±5°[/green]", "[yellow]80% ±6°[/yellow]", "[red]70% ±7°[/red]",
                     "[dim]missing[/dim]", "[red]opens[/red]", "mesh, bend"]  # fmt: skip
