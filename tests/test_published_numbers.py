# SPDX-License-Identifier: Apache-2.0
"""Published numbers come from benchmarks/results, carry their conditions, and are those of the shipped weights."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from pitviper.sdk import list_models
from pitviper.sdk.model import open_model

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FLOOR = {"nuaa-sirst": (0.68, 0.93), "nudt-sirst": (0.80, 0.94)}
"""IoU and Pd that the default model has to reach on each validation split to be shipped."""


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("tables")


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda p: p.stem)
def test_every_result_says_how_it_was_measured(path: Path) -> None:
    conditions = json.loads(path.read_text())["conditions"]
    assert {"command", "commit", "device", "python", "pitviper", "onnxruntime"} <= set(conditions)


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("README.md", "validation"),
        ("docs/results.md", "validation"),
        ("docs/tracking.md", "tracking_video"),
        ("docs/engines.md", "engines"),
        ("docs/kernels.md", "static_triton"),
        ("docs/points-results.md", "points"),
    ],
)
def test_pages_hold_the_measured_tables(page: str, table: str, tables: ModuleType) -> None:
    """A table that was edited by hand, or left behind by a new measurement, is not what its result file says."""
    assert f"<!-- {table} -->" in (ROOT / page).read_text()
    assert (ROOT / page).read_text() == tables.filled(page), "run python benchmarks/tables.py"


def test_every_table_with_a_result_is_on_a_page(tables: ModuleType) -> None:
    text = "".join((ROOT / page).read_text() for page in tables.PAGES)
    measured = [tag for tag, (stem, _) in tables.TABLES.items() if (RESULTS / f"{stem}.json").is_file()]
    assert [tag for tag in measured if f"<!-- {tag} -->" not in text] == []


@pytest.mark.parametrize("name", sorted(list_models()))
def test_manifest_states_what_was_measured(name: str) -> None:
    """Training evaluated in torch, the benchmark through the detector: the same pixels up to rounding at 0.5."""
    measured = json.loads((RESULTS / "validation.json").read_text())["models"][name]["sets"]
    stated = open_model(name).manifest.metrics
    assert set(stated) == set(measured)
    for data, metrics in measured.items():
        assert stated[data]["split_sha256"] == metrics["split_sha256"]
        assert stated[data]["iou"] == pytest.approx(metrics["iou"], abs=1e-3)
        assert stated[data]["pd"] == metrics["pd"]


def test_default_model_reaches_its_floor() -> None:
    metrics = open_model("pit-s").manifest.metrics
    for data, (iou, pd) in FLOOR.items():
        assert metrics[data]["iou"] >= iou
        assert metrics[data]["pd"] >= pd
