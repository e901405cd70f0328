# SPDX-License-Identifier: Apache-2.0
"""The report of a run holds its curves, its numbers and pictures of its errors, on one page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from pitviper.core.datasets import DatasetError, open_dataset
from pitviper.core.report import MissingMatplotlib
from pitviper.train import cli
from pitviper.train.config import SupervisedConfig
from pitviper.train.history_plot import plot_history
from pitviper.train.report import report_run


def test_report_run(finished: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    output = tmp_path / "report"
    assert cli.main(["report", str(finished), str(output), "--weights", "last"]) == 0
    assert capsys.readouterr().out == f"{output / 'report.html'}\n"
    names = {path.name for path in output.iterdir()}
    assert names >= {"report.html", "training.png", "curves.png", "metrics.json", "sheet-tiny-val.png"}
    page = (output / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3, "training curves, sweep curves and one sheet"
    for text in (
        "<h2>Training</h2>",
        "last, epoch 3 of 3",
        "tiny train (10 frames)",
        "parameters in training form",
    ):
        assert text in page
    assert open_dataset(tiny, "val").split_sha256 in page
    metrics = json.loads((output / "metrics.json").read_text())["sets"]["tiny val"]["metrics"]
    history = json.loads((finished / "run.json").read_text())["history"]
    last = history[-1]["validation"]["tiny"]
    # The run validates float16 frames, the report the files themselves.
    assert metrics["iou"] == pytest.approx(last["iou"], abs=5e-3)
    with Image.open(output / "training.png") as picture:
        assert picture.size == (1320, 814)


def test_report_of_the_best_epoch_names_it(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = report_run(finished, tmp_path).read_text()
    assert "best, epoch " in page


def test_a_run_without_val_split_has_nothing_to_report(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "last.safetensors").write_bytes((finished / "last.safetensors").read_bytes())
    summary = json.loads((finished / "run.json").read_text())
    summary["config"]["data"], summary["validation"] = [], []
    (tmp_path / "run.json").write_text(json.dumps(summary))
    with pytest.raises(DatasetError, match="no val split to report on"):
        report_run(tmp_path, tmp_path / "report", which="last")


def test_histories_of_every_form_can_be_drawn() -> None:
    pytest.importorskip("matplotlib")
    background = {"iou": 0.0, "niou": 0.0, "fa_per_mpix": 0.0, "false_objects_per_frame": 0.0}
    one = {"epoch": 1, "loss": 1.0, "validation": {"sky": background}}
    for history in ([one], [{"epoch": 1, "loss": 1.0, "validation": {}}], [{"epoch": 1, "loss": 1.0}, one]):
        assert plot_history(history, SupervisedConfig(), chosen=1)[:4] == b"\x89PNG"


def test_matplotlib_is_named_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingMatplotlib, match=r"pitviper\[train\]"):
        plot_history([{"epoch": 1, "loss": 1.0}], SupervisedConfig(), chosen=1)
