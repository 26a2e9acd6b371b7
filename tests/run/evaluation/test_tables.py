"""Tables in the terminal, in Markdown and in LaTeX: the same cells everywhere."""

from __future__ import annotations

from run.evaluation.statistics import summarise
from run.evaluation.tables import as_latex, as_markdown, breakdown, comparison
from tests.run.evaluation.test_statistics import records


def with_optimum() -> dict:
    found = records()
    found["optimizer"] = {way: {**m, "S_finger": m["S_finger"] + 0.02} for way, m in found["tbs_copy"].items()}
    return found


def rows_of(markdown: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("|")]


def test_gap_closed_runs_from_the_copy_to_the_optimum():
    methods = summarise(with_optimum())
    shares = {name: entry["mano2mixamo"]["S_finger_gap_closed"] for name, entry in methods.items()}
    assert {name: round(share, 4) for name, share in shares.items()} == {
        "rotation_copy": -5.0, "tbs_copy": 0.0, "asrn": 0.5, "optimizer": 1.0,
    }  # fmt: skip
    # S_palm is the same everywhere: there is no gap to close.
    assert "S_palm_gap_closed" not in methods["asrn"]["mano2mixamo"]
    assert "S_finger_gap_closed" not in summarise(records())["asrn"]["mano2mixamo"]


def test_markdown():
    text = as_markdown(comparison(summarise(with_optimum()), "All methods"))
    assert text.startswith("## All methods\n\n| Direction | Method | S_finger ↑ | of 0.95 |")
    rows = rows_of(text)
    assert len(rows) == 2 + 2 * 4 and len({len(row) for row in rows}) == 1
    asrn = next(row for row in rows if row[:2] == ["MANO → character", "ASRN"])
    assert asrn[2:] == ["0.9200 ± 0.0100", "96.8%", "**0.9900 ± 0.0100**", "**0.200**", "50%"]
    optimum = next(row for row in rows if row[1] == "Optimiser")
    assert optimum[2] == "**0.9300 ± 0.0100**" and optimum[-1] == "100%"


def test_latex():
    text = as_latex(comparison(summarise(with_optimum()), "50 % & more_"))
    assert "\\caption{50 \\% \\& more\\_}" in text and "\\begin{tabular}{llrrrrr}" in text
    assert "MANO $\\to$ character & Rotation copy & $0.8100 \\pm 0.0100$ & 85.3\\% &" in text
    assert " & Optimiser & $\\mathbf{0.9300} \\pm 0.0100$ & 97.9\\% &" in text
    lines = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len({line.count(" & ") for line in lines}) == 1 and text.count("\\midrule") == 2
    assert text.count("{") == text.count("}") and "_" not in text.replace("\\_", "")


def test_breakdown_leaves_out_what_has_no_value():
    parts = {
        "thumb-index": {"tbs_copy": {"pinch_error": 0.3, "frames": 7}, "asrn": {"pinch_error": 0.1, "frames": 7}},
        "no touch, open": {"tbs_copy": {"pinch_error": None, "frames": 9}, "asrn": {"frames": 9}},
    }
    rows = rows_of(as_markdown(breakdown(parts, "pinch_error", "Pinches", "gesture"), 3))
    assert rows[0] == ["gesture", "frames", "Twist-bend-splay copy", "ASRN"]
    assert rows[2:] == [["thumb-index", "7", "0.300", "**0.100**"]]
