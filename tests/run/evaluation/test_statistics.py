"""Figures, their standard errors, and the files they are kept in."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
import torch
from rich.console import Console

from run.evaluation.statistics import mean_and_error, merge_parts, summarise, write_results
from run.evaluation.tables import table

NAN = float("nan")


def test_mean_and_standard_error():
    mean, error, count = mean_and_error(torch.tensor([1.0, 2.0, NAN, 3.0]))
    assert (mean, count) == (2.0, 3)
    assert error == pytest.approx(1 / math.sqrt(3))
    assert mean_and_error(torch.tensor([NAN, NAN])) == (None, None, 0)
    assert mean_and_error(torch.tensor([4.0])) == (4.0, None, 1)


def test_weights_are_numbers_of_observations():
    values = torch.tensor([0.1, 0.4, NAN])
    mean, error, count = mean_and_error(values, torch.tensor([3, 1, 0]))
    assert (mean, count) == (pytest.approx((3 * 0.1 + 0.4) / 4), 2) and error > 0
    equal = mean_and_error(values, torch.tensor([2, 2, 2]))
    assert equal == pytest.approx(mean_and_error(values))


def records() -> dict:
    def direction(shift):
        return {
            "S_finger": torch.tensor([0.9, 0.92]) + shift,
            "S_palm": torch.tensor([0.98, 1.0]),
            "pinch_error": torch.tensor([0.2, NAN]),
            "pinch_pairs": torch.tensor([4, 0]),
        }

    return {
        method: {"mano2mixamo": direction(shift), "mixamo2mano": direction(shift)}
        for method, shift in (("rotation_copy", -0.1), ("tbs_copy", 0.0), ("asrn", 0.01))
    }


def test_summary_across_domains():
    entry = summarise(records())["asrn"]["mano2mixamo"]
    assert entry["S_finger"] == pytest.approx(0.92) and entry["S_finger_se"] == pytest.approx(0.01, 1e-4)
    assert entry["S_finger_relative"] == pytest.approx(0.92 / 0.95)
    assert entry["S_palm_relative"] == entry["S_palm"]
    assert entry["pinch_error"] == pytest.approx(0.2) and entry["pinch_windows"] == 1
    assert "pinch_pairs" not in entry


def test_summary_within_a_domain():
    given = {"dm": {"intra": {"mixamo_MSE": torch.tensor([1.0, 3.0]), "S_finger": torch.tensor([0.9, 0.9])}}}
    entry = summarise(given)["dm"]
    assert (entry["mixamo_MSE"], entry["mixamo_MSE_se"]) == (2.0, 1.0)
    assert "mixamo_MSE" not in entry["intra"] and entry["intra"]["S_finger"] == pytest.approx(0.9)


def test_processes_are_put_together():
    merged = merge_parts([records(), records()])
    assert merged["asrn"]["mano2mixamo"]["S_finger"].shape == (4,)
    assert merge_parts([records()])["asrn"]["mano2mixamo"]["S_finger"].shape == (2,)


def test_table_shows_methods_directions_and_errors():
    console = Console(width=150, file=io.StringIO(), record=True)
    console.print(table(summarise(records()), "Test"))
    text = console.export_text()
    for word in ("MANO → character", "character → MANO", "Rotation copy", "ASRN", "0.9200 ± 0.0100", "96.8%", "0.200"):
        assert word in text
    assert "MSE" not in text


def test_files(tmp_path):
    methods = summarise(records())
    methods["asrn"]["mano2mixamo"]["S_palm"] = NAN
    write_results(tmp_path, {"methods": methods, "methods_inside": summarise(records()), "windows": 2})
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["methods"]["asrn"]["mano2mixamo"]["S_palm"] is None and stored["windows"] == 2
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    row = next(r for r in rows if (r["group"], r["method"], r["metric"]) == ("methods_inside", "tbs_copy", "S_finger"))
    assert float(row["value"]) == pytest.approx(0.91) and float(row["standard_error"]) == pytest.approx(0.01, 1e-4)
    assert len(list(tmp_path.iterdir())) == 2
