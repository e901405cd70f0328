# SPDX-License-Identifier: Apache-2.0
"""Budgets answered from the operating points of a package, and refused where those cannot answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pitviper import sdk
from pitviper.core.manifest import Manifest, OperatingPoint, Package
from pitviper.kernels import NORMALISATION
from pitviper.sdk.fa_budget import resolve_budget


def package(*, images: int | None = 1000, **rates: tuple[float | None, float | None]) -> Package:
    """A package with points at 0.2, 0.5 and 0.8 on the sets ``a`` and ``b``."""
    thresholds = {"sensitive": 0.2, "default": 0.5, "quiet": 0.8}
    points = tuple(
        OperatingPoint(name, thresholds[name], data, 0.9, 10.0, rate)
        for name, pair in rates.items()
        for data, rate in zip("ab", pair, strict=True)
    )
    manifest = Manifest(
        name="toy", architecture={}, normalisation=NORMALISATION, stride=8, operating_points=points,
        metrics={} if images is None else {"a": {"images": images}, "b": {"images": 10 * images}},
        training={}, data=(), licence="", provenance="",
    )  # fmt: skip
    return Package(Path("toy"), manifest, {})


TABLE = package(sensitive=(0.5, 0.3), default=(0.2, 0.1), quiet=(0.05, 0.02))


@pytest.mark.parametrize(
    ("budget", "threshold"),
    [
        ({"per_frame": 0.5}, 0.2),
        ({"per_frame": 0.49}, 0.5),
        ({"per_frame": 0.05}, 0.8),
        ({"per_frame": 0.02, "data": "b"}, 0.8),
        ({"per_frame": 0.3, "data": "b"}, 0.2),
        ({"per_hour": 10_800, "fps": 30}, 0.8),
        ({"per_frame": 0.5, "per_hour": 10_800, "fps": 30}, 0.8),
    ],
)
def test_the_lowest_threshold_within_the_budget_on_every_set(
    budget: dict[str, Any], threshold: float
) -> None:
    assert resolve_budget(sdk.FaBudget(**budget), TABLE) == threshold


def test_a_budget_that_no_point_keeps_names_the_table() -> None:
    with pytest.raises(sdk.InputError) as caught:
        resolve_budget(sdk.FaBudget(per_frame=0.04), TABLE)
    for text in ("0.04", "0.2 (a 0.5, b 0.3)", "0.8 (a 0.05, b 0.02)", "pitviper calibrate"):
        assert text in str(caught.value)


def test_a_set_too_small_for_the_rate_cannot_answer() -> None:
    small = package(images=30, quiet=(0.0, 0.0))
    assert resolve_budget(sdk.FaBudget(per_frame=0.1), small) == 0.8
    with pytest.raises(sdk.InputError, match=r"30 frames.*below 0\.1"):
        resolve_budget(sdk.FaBudget(per_frame=0.09), small)
    with pytest.raises(sdk.InputError, match="30 frames"):
        resolve_budget(sdk.FaBudget(per_hour=1, fps=30), small)


def test_points_without_a_measurement_never_answer() -> None:
    with pytest.raises(sdk.InputError, match="not measured"):
        resolve_budget(sdk.FaBudget(per_frame=0.5), package(default=(0.1, None)))
    with pytest.raises(sdk.InputError, match="holds a, b"):
        resolve_budget(sdk.FaBudget(per_frame=0.5, data="c"), TABLE)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"per_frame": 0},
        {"per_frame": -1},
        {"per_frame": float("nan")},
        {"per_frame": "0.1"},
        {"per_hour": True, "fps": 30},
        {"per_hour": 2, "fps": 0},
        {"fps": 30},
    ],
)
def test_budgets_that_cannot_be_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(sdk.InputError):
        sdk.FaBudget(**values)


def test_per_hour_needs_the_frame_rate() -> None:
    with pytest.raises(sdk.InputError, match="frames per second"):
        resolve_budget(sdk.FaBudget(per_hour=2), TABLE)


def test_every_call_takes_a_budget(
    make_detector: Callable[..., sdk.Detector], plant: Callable[..., Any]
) -> None:
    frame = plant((64, 64), {(30, 30): 3})
    budget = sdk.FaBudget(per_frame=0.01)
    with make_detector(threshold=budget) as detector:
        assert detector.threshold == 0.5
    with make_detector(threshold=0.25) as detector:
        assert detector.detect(frame, threshold=budget).threshold == 0.5
        assert detector.detect_batch([frame], threshold=budget)[0].threshold == 0.5
        with detector.stream([frame], threshold=budget) as stream:
            assert next(stream).threshold == 0.5
        assert detector.detect(frame).threshold == 0.25


@pytest.mark.parametrize("name", sdk.list_models())
def test_the_shipped_tables_answer_what_they_measured(name: str) -> None:
    opened = sdk.open_model(name)
    worst = max(p.false_objects_per_frame or 0 for p in opened.manifest.operating_points)
    smallest = min(metrics["images"] for metrics in opened.manifest.metrics.values())
    # Below 3 / n of n frames the table cannot tell, however few false alarms it holds.
    assert 0 < resolve_budget(sdk.FaBudget(per_frame=max(worst, 3 / smallest)), opened) < 1
    with pytest.raises(sdk.InputError, match="pitviper calibrate"):
        resolve_budget(sdk.FaBudget(per_frame=2.9 / smallest), opened)
    with pytest.raises(sdk.InputError, match="pitviper calibrate"):
        resolve_budget(sdk.FaBudget(per_hour=2, fps=30), opened)
