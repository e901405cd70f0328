# SPDX-License-Identifier: Apache-2.0
"""Calibrations: the bound holds on scenes that were not measured, and files are checked."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitviper import sdk
from pitviper.core.synthetic import CLUTTERS, Scene, SceneConfig
from pitviper.sdk.calibration import KEPT, LOWEST, alarm_bound, alarms_allowed
from pitviper.sdk.sources import Frame, Source, SourceInfo, open_source

Frames = np.ndarray[Any, np.dtype[np.uint16]]
MODEL = {"model": "toy", "model_sha256": "", "source": "test"}


@functools.cache
def cuts() -> Frames:
    """800 empty backgrounds uint16 [48, 64] in random order: cuts out of two scenes of every clutter."""
    pieces = []
    for number, clutter in enumerate(CLUTTERS * 2):
        config = SceneConfig(
            width=640, height=480, frames=1, targets=0, bad_pixels=4, seed=number, clutter=clutter
        )
        frame = Scene(config)[0].frame
        pieces.append(frame.reshape(10, 48, 10, 64).swapaxes(1, 2).reshape(100, 48, 64))
    return np.random.default_rng(0).permutation(np.concatenate(pieces))


def test_the_bound_is_the_one_of_clopper_and_pearson() -> None:
    from scipy.stats import binomtest

    for alarms, blocks in ((0, 59), (3, 100), (17, 40), (40, 40)):
        exact = binomtest(alarms, blocks).proportion_ci(confidence_level=0.9, method="exact").high
        assert alarm_bound(alarms, blocks, 0.95) == pytest.approx(exact, abs=1e-9)
    with pytest.raises(sdk.InputError):
        alarm_bound(5, 4)


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-4, 1.0), st.integers(1, 3000), st.sampled_from([0.5, 0.9, 0.99]))
def test_allowed_alarms_are_the_most_that_the_bound_bears(
    allowed: float, blocks: int, confidence: float
) -> None:
    alarms = alarms_allowed(allowed, blocks, confidence)
    assert alarms < 0 or alarm_bound(alarms, blocks, confidence) <= allowed
    assert alarms == blocks or alarm_bound(alarms + 1, blocks, confidence) > allowed


def test_the_rate_stays_within_the_budget_as_often_as_stated() -> None:
    """Known scores, uniform on [0, 1): a threshold t has the true rate 1 - t. Trials beyond it: at most 5 %."""
    rng = np.random.default_rng(0)
    budget = sdk.FaBudget(per_frame=0.05)
    rates = [1 - sdk.Calibration.of(rng.random(300), **MODEL).threshold_for(budget) for _ in range(1000)]
    beyond = np.mean(np.array(rates) > 0.05)
    # 5 % is attained but for the step of a whole alarm; three deviations of 1,000 trials are 2.1 %.
    assert beyond <= 0.05 + 0.021
    assert np.mean(rates) > 0.025, "the bound is not so careful as to be useless"


def test_the_budget_holds_on_backgrounds_that_were_not_measured(
    make_detector: Callable[..., sdk.Detector],
) -> None:
    with make_detector() as detector:
        made = sdk.calibrate(detector, open_source(cuts()[:400]))
        budget = sdk.FaBudget(per_frame=0.1, calibration=made)
        held_out = cuts()[400:]
        alarms = sum(len(detector.detect(frame, threshold=budget)) > 0 for frame in held_out)
        loose = sum(len(detector.detect(frame, threshold=0.5)) > 0 for frame in held_out)
    assert (made.blocks, made.block, made.frames, made.shape) == (400, 1, 400, (48, 64))
    assert alarms / 400 <= 0.1
    assert loose / 400 > 0.1, "the usual threshold would break the budget, so the calibration did something"


def test_blocks_count_once() -> None:
    scores = [0.1, 0.9, 0.8, 0.2, 0.1, 0.1, 0.3]
    made = sdk.Calibration.of(scores, block=3, fps=30.0, **MODEL)
    assert made.scores == (0.9, 0.2)
    assert (made.blocks, made.frames) == (2, 6)
    assert [made.alarms(t) for t in (0.05, 0.2, 0.5, 0.9)] == [2, 1, 1, 0]
    assert made.bound(0.5) == alarm_bound(1, 2)


def test_per_hour_counts_blocks_by_the_frame_rate() -> None:
    made = sdk.Calibration.of(np.linspace(0, 0.99, 36_000), block=30, fps=30.0, **MODEL)
    strict, easy = (made.threshold_for(sdk.FaBudget(per_hour=hour)) for hour in (36, 360))
    assert strict > easy
    assert made.bound(easy) <= 360 / 3600
    with pytest.raises(sdk.InputError, match="fps=30"):
        replace(made, fps=None).threshold_for(sdk.FaBudget(per_hour=36))
    both = made.threshold_for(sdk.FaBudget(per_frame=0.1, per_hour=36))
    assert both == strict


def test_too_few_blocks_are_refused_with_the_number_needed() -> None:
    made = sdk.Calibration.of(np.full(58, 0.2), **MODEL)
    with pytest.raises(sdk.InputError, match="at least 59 blocks"):
        made.threshold_for(sdk.FaBudget(per_frame=0.05))
    enough = sdk.Calibration.of(np.full(59, 0.2), **MODEL)
    assert enough.threshold_for(sdk.FaBudget(per_frame=0.05)) == 0.2


def test_edges_of_the_scores() -> None:
    quiet = sdk.Calibration.of(np.full(100, 0.001), **MODEL)
    assert quiet.threshold_for(sdk.FaBudget(per_frame=0.05)) == LOWEST
    assert quiet.threshold_for(sdk.FaBudget(per_frame=5.0)) == LOWEST
    loud = sdk.Calibration.of(np.ones(100), **MODEL)
    with pytest.raises(sdk.InputError, match="are they empty"):
        loud.threshold_for(sdk.FaBudget(per_frame=0.05))


def test_only_the_highest_scores_are_kept_and_stay_honest() -> None:
    scores = np.random.default_rng(0).random(5 * KEPT)
    made = sdk.Calibration.of(scores, **MODEL)
    assert len(made.scores) == KEPT
    assert made.alarms(0.9) == int((scores > 0.9).sum())
    with pytest.raises(sdk.InputError, match="higher threshold"):
        made.alarms(0.5)
    # Half of the frames may alarm, but the score for that was not kept: the lowest kept one is stricter.
    assert made.threshold_for(sdk.FaBudget(per_frame=0.5)) == made.scores[-1]


def test_neighbours_that_resemble_each_other_are_told(
    make_detector: Callable[..., sdk.Detector], caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    assert abs(sdk.Calibration.of(rng.random(500), **MODEL).resemblance or 0) < 0.2
    slow = np.repeat(cuts()[:12], 5, axis=0)
    noise = rng.integers(0, 2, slow.shape).astype(np.uint16)
    with make_detector() as detector:
        made = sdk.calibrate(detector, open_source(slow + noise))
    assert made.resemblance is not None
    assert made.resemblance > 0.3
    assert "resemble" in caplog.text


def test_a_file_alone_is_a_threshold(make_detector: Callable[..., sdk.Detector], tmp_path: Path) -> None:
    with make_detector() as detector:
        made = sdk.calibrate(
            detector,
            open_source(cuts()[:60]),
            budget=sdk.FaBudget(per_frame=0.05),
            frames=59,
        )
    path = tmp_path / "site.json"
    path.write_text(made.to_json())
    assert sdk.Calibration.load(path) == made
    assert "no target" in json.loads(path.read_text())["assumption"]
    for threshold in (path, str(path), made, sdk.FaBudget(per_frame=0.05, calibration=path)):
        with make_detector(threshold=threshold) as detector:
            assert detector.threshold == made.chosen_threshold() == made.scores[0]
            assert detector.detect(cuts()[0]).threshold == detector.threshold


def test_a_calibration_without_a_budget_asks_for_one(make_detector: Callable[..., sdk.Detector]) -> None:
    made = sdk.Calibration.of(np.full(100, 0.2), **MODEL)
    with pytest.raises(sdk.InputError, match="FaBudget"):
        make_detector(threshold=made)


def test_scores_of_another_network_are_refused(make_detector: Callable[..., sdk.Detector]) -> None:
    for other in ({"model": "pit-s"}, {"model_sha256": "ab" * 32}):
        made = sdk.Calibration.of(np.full(100, 0.2), per_frame=0.1, **{**MODEL, **other})
        with pytest.raises(sdk.InputError, match="two networks"):
            make_detector(threshold=made)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other"},
        {"scores": [0.1, 0.5]},
        {"scores": ["a", "b"]},
        {"scores": None},
        {"scores": [2.0, 0.1]},
        {"blocks": 3},
        {"blocks": True},
        {"confidence": 1.5},
        {"confidence": "high"},
        {"fps": -1},
        {"shape": 4},
        {"odd": 1},
        {"fps": float("inf")},
        {"model_sha256": 5},
        {"model_sha256": [[float("nan")]]},
    ],
)
def test_hostile_files_are_refused_by_name(tmp_path: Path, change: dict[str, Any]) -> None:
    values = json.loads(sdk.Calibration.of([0.5, 0.1], **MODEL).to_json())
    path = tmp_path / "site.json"
    path.write_text(json.dumps({**values, **change}))
    with pytest.raises(sdk.InputError, match=r"site\.json"):
        sdk.Calibration.load(path)


def test_what_is_no_file_of_ours(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", "nan", "[" * 100_000):
        (tmp_path / "site.json").write_text(text)
        with pytest.raises(sdk.InputError, match=r"site\.json"):
            sdk.Calibration.load(tmp_path / "site.json")
    with pytest.raises(sdk.InputError, match=r"none\.json"):
        sdk.Calibration.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("scores", "block"), [([0.1, 0.2], 3), ([0.1], 0), ([float("nan")], 1), ([[0.1]], 1), ([2.0], 1), ([], 1)]
)
def test_scores_that_are_none(scores: Any, block: int) -> None:
    with pytest.raises(sdk.InputError):
        sdk.Calibration.of(scores, block=block, **MODEL)


class Silent(Source):
    """A camera that never gives a frame."""

    def __init__(self) -> None:
        super().__init__(SourceInfo("script", "silent", live=True))
        self._over = threading.Event()

    def interrupt(self) -> None:
        super().interrupt()
        self._over.set()

    def _read(self) -> Iterator[Frame]:
        self._over.wait()
        yield from ()


def test_the_wait_for_a_frame_is_the_callers(make_detector: Callable[..., sdk.Detector]) -> None:
    with make_detector() as detector, pytest.raises(sdk.SourceTimeout, match=r"no frame for 0\.2 s"):
        sdk.calibrate(detector, Silent(), timeout_s=0.2)
