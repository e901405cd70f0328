# SPDX-License-Identifier: Apache-2.0
"""What a run tells: lines on stderr, scalars and pictures for TensorBoard."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pitviper.train.observers import ConsoleObserver, TensorBoardObserver, format_metrics

METRICS = {"iou": 0.7123, "niou": 0.7, "pd": 0.95, "fa_per_mpix": 12.34, "false_objects_per_frame": 0.125}


def test_format_metrics() -> None:
    assert format_metrics(METRICS) == (
        "IoU 71.23  nIoU 70.00  Pd 95.00  Fa 12.3 px/Mpx  false objects 0.125/frame"
    )
    assert "Pd" not in format_metrics({k: v for k, v in METRICS.items() if k != "pd"})


def test_console(capsys: pytest.CaptureFixture[str]) -> None:
    observer = ConsoleObserver(10)
    observer.epoch(4, {"loss": 0.5, "soft_iou": 0.4}, 1e-3, 30.0)
    observer.validation(4, {"sky": METRICS})
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "epoch 4/10  loss 0.5000  soft_iou 0.4000  lr 1.00e-03  30.0 s  about 3 min left",
        f"  val sky: {format_metrics(METRICS)}",
    ]


def test_tensorboard(finished: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard")).Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) >= {"train/loss", "train/lr", "val_tiny/iou", "val_tiny/fa_per_mpix"}
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3]
    assert set(tags["images"]) == {"val_tiny/0", "val_tiny/1", "val_tiny/2"}
    picture = events.Images("val_tiny/0")[0]
    assert (picture.width, picture.height) == (3 * 72, 72), "frame, truth and probability side by side"
    assert np.isfinite([event.value for event in events.Scalars("train/lr")]).all()


def test_a_full_disk_ends_tensorboard_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    observer = TensorBoardObserver(tmp_path, cast(Any, None), {"tiny": []})
    calls = []

    def full(*given: object) -> None:
        calls.append(given)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(observer.writer, "add_scalar", full)
    observer.epoch(1, {"loss": 0.5}, 1e-3, 30.0)
    observer.validation(1, {"tiny": METRICS})
    observer.epoch(2, {"loss": 0.4}, 1e-3, 30.0)
    assert len(calls) == 1
    assert capsys.readouterr().err.count("No space left on device); the training goes on without it") == 1
