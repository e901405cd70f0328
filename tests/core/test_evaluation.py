# SPDX-License-Identifier: Apache-2.0
"""evaluate(): numbers, rows and events of planted scenes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pitviper.core.datasets import DatasetError, Sample
from pitviper.core.evaluation import evaluate
from pitviper.core.metrics import DetectionMetrics

BACKGROUND = 1000


def write_sample(
    folder: Path, name: str, targets: list[tuple[int, int, int, int]], shape: tuple[int, int] = (64, 80)
) -> Sample:
    """A 16-bit frame with bright boxes (y, x, height, width) and its mask."""
    frame, mask = np.full(shape, BACKGROUND, np.uint16), np.zeros(shape, np.uint8)
    for y, x, height, width in targets:
        frame[y : y + height, x : x + width] = 9000
        mask[y : y + height, x : x + width] = 255
    Image.fromarray(frame).save(folder / f"{name}.png")
    if not targets:
        return Sample(name, folder / f"{name}.png", None)
    Image.fromarray(mask).save(folder / f"{name}_mask.png")
    return Sample(name, folder / f"{name}.png", folder / f"{name}_mask.png")


def bright(frame: NDArray[Any]) -> NDArray[np.float32]:
    """A detector that finds every planted target of the left half and sees one more object in the corner."""
    probability = np.where(frame > BACKGROUND, np.float32(0.9), np.float32(0.01))
    probability[:, 40:] = 0.01
    probability[60:62, 2:5] = 0.75
    return probability


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return [
        write_sample(tmp_path, "found", [(10, 10, 1, 1), (20, 20, 1, 2)]),
        write_sample(tmp_path, "lost", [(30, 60, 3, 3), (5, 50, 8, 10), (40, 30, 1, 1)]),
        write_sample(tmp_path, "empty", []),
    ]


def test_numbers_rows_and_order(samples: list[Sample]) -> None:
    result = evaluate(bright, samples, draws=50)
    assert (result.metrics.images, result.metrics.targets, result.metrics.found) == (3, 5, 3)
    assert result.metrics.pd == 3 / 5
    assert result.metrics.fa_per_mpix == pytest.approx(1e6 * 18 / (3 * 64 * 80))
    assert result.metrics.hse is not None
    assert [row.name for row in result.rows] == ["lost", "empty", "found"]
    worst = result.rows[0]
    assert (worst.height, worst.width, worst.targets, worst.matched, worst.missed) == (64, 80, 3, 1, 2)
    assert (worst.false_objects, worst.false_pixels) == (1, 6)
    assert worst.iou == 1 / (90 + 6)
    assert result.intervals["pd"].low <= 3 / 5 <= result.intervals["pd"].high


def test_events_hold_what_the_frame_shows(samples: list[Sample]) -> None:
    result = evaluate(bright, samples, draws=0)
    assert result.intervals == {}
    assert [(miss.name, miss.area_px) for miss in result.misses] == [("lost", 80), ("lost", 9)]
    small = result.misses[1]
    assert (small.x, small.y, small.kind) == (61.5, 31.5, "miss")
    assert small.peak == pytest.approx(0.01)
    assert small.frame.shape == small.truth.shape == (40, 40)
    assert small.frame.dtype == np.uint16
    # Truth, and so the bright pixels, lie where the window was cut: the frame's right edge is the window's.
    assert np.argwhere(small.truth & (small.frame == 9000)).shape[0] == small.truth.sum() > 9
    assert np.flatnonzero(small.truth.any(axis=0))[-1] == 62 - (80 - 40)
    assert len(result.false_alarms) == 3
    alarm = result.false_alarms[0]
    assert (alarm.x, alarm.y, alarm.area_px, alarm.peak) == (3.5, 61.0, 6, 0.75)
    assert alarm.predicted.sum() >= 6


def test_only_the_worst_events_are_kept(samples: list[Sample]) -> None:
    result = evaluate(bright, samples * 9, draws=0, max_events=2)
    assert [miss.area_px for miss in result.misses] == [80, 80]
    assert len(result.false_alarms) == 2
    assert result.metrics.targets - result.metrics.found == 18


def test_progress_and_generators(samples: list[Sample]) -> None:
    seen: list[tuple[int, int | None, str]] = []
    evaluate(bright, samples, draws=0, progress=lambda *step: seen.append(step))
    assert seen == [(1, 3, "found"), (2, 3, "lost"), (3, 3, "empty")]
    evaluate(bright, iter(samples), draws=0, progress=lambda *step: seen.append(step))
    assert seen[-1] == (3, None, "empty")


def test_settings_come_with_the_metrics(samples: list[Sample]) -> None:
    metrics = DetectionMetrics("pal", curves=False, threshold=0.8)
    result = evaluate(bright, samples, metrics=metrics)
    assert (result.metrics.profile, result.metrics.threshold, result.metrics.hse) == ("pal", 0.8, None)
    assert result.false_alarms == ()
    with pytest.raises(ValueError, match="already holds 3 images"):
        evaluate(bright, samples, metrics=metrics)


def test_to_dict_is_json(samples: list[Sample]) -> None:
    stored = json.loads(json.dumps(evaluate(bright, samples, draws=20).to_dict(), allow_nan=False))
    assert stored["metrics"]["pd"] == 0.6
    assert len(stored["metrics"]["sweep"]["pd"]) == 101
    assert stored["rows"][0]["name"] == "lost"
    assert stored["intervals"]["iou"]["level"] == 0.95
    assert sum(each["targets"] for each in stored["classes"].values()) == 5
    assert stored["classes"]["salient"]["found"] == stored["metrics"]["found"] == 3


def test_what_is_refused(samples: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no sample"):
        evaluate(bright, [])
    with pytest.raises(ValueError, match=r"found: probability \(64, 64\) and truth \(64, 80\)"):
        evaluate(lambda frame: bright(frame)[:, :64], samples)
    with pytest.raises(ValueError, match="found: probability must lie"):
        evaluate(lambda frame: frame.astype(np.float32), samples)
    with pytest.raises(DatasetError, match="gone"):
        evaluate(bright, [Sample("gone", tmp_path / "gone.png", None)])
