# SPDX-License-Identifier: Apache-2.0
"""Thresholds by log-odds: they go on where every probability in float32 is 1, through streams, files and replay."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.core.plan.onnx_graph import read_graph
from pitviper.sdk.calibration import LOG_ODDS, PROBABILITY
from pitviper.sdk.engines.sigmoid import log_odds_missing, with_log_odds
from pitviper.sdk.log_odds import log_odds_of
from pitviper.sdk.record import Recorder, ReplaySource, rerun
from pitviper.sdk.sources import open_source

from .conftest import BlobEngine

Frames = np.ndarray[Any, np.dtype[np.uint16]]


class SteepEngine(BlobEngine):
    """A network whose probabilities are 0 or 1 for nearly every value."""

    def run(self, frames: Any) -> Any:
        return (1 / (1 + np.exp(-np.clip(20 * (frames - 5.0), -30, 30)))).astype(np.float32)


class OddsEngine(SteepEngine):
    """The same, which also gives what goes into its sigmoid."""

    gives_log_odds = True

    def log_odds(self, frames: Any) -> Any:
        return (20 * (frames - 5.0)).astype(np.float32)


@pytest.fixture
def odds_detector(make_detector: Callable[..., sdk.Detector]) -> Iterator[sdk.Detector]:
    with make_detector(engine=OddsEngine()) as made:
        yield made


def scenes(plant: Callable[..., Frames], count: int = 60) -> Frames:
    """Scenes with a glint of a different height each, far beyond what a probability can tell from 1."""
    return np.stack([plant((48, 64), {(20, 30): 2}, seed, 900 + 40 * seed) for seed in range(count)])


def test_the_number_is_the_probability() -> None:
    assert sdk.LogOdds(0) == 0.5
    assert sdk.LogOdds(math.log(9)) == pytest.approx(0.9)
    assert sdk.LogOdds(5000) < 1
    assert (log_odds_of(0.5), log_odds_of(sdk.LogOdds(40))) == (0, 40)
    assert (log_odds_of(0.0), log_odds_of(1.0)) == (-math.inf, math.inf)
    for made in (copy.deepcopy(sdk.LogOdds(40)), pickle.loads(pickle.dumps(sdk.LogOdds(40)))):
        assert repr(made) == "LogOdds(40)"
    for wrong in (-81, 10_001, math.nan, math.inf, "40", True, None):
        with pytest.raises(sdk.InputError, match="log-odds must"):
            sdk.LogOdds(wrong)  # type: ignore[arg-type]


def test_the_shipped_network_gives_its_log_odds_unchanged(plant: Callable[..., Frames]) -> None:
    frame = plant((64, 96), {(20, 30): 2, (40, 70): 3}, contrast=300)
    with sdk.Detector("pit-n", threads=1) as detector:
        content = detector.package.read("network.onnx")
        made = with_log_odds(content, "network.onnx")
        assert made.startswith(content)
        assert detector.gives_log_odds
        plain = detector.detect(frame, threshold=0.3)
        finer = detector.detect(frame, threshold=sdk.LogOdds(log_odds_of(0.3)))
        assert len(plain) == 2
        # The runtime's own sigmoid rounds in float32, and so does ours.
        assert np.abs(finer.score_map - plain.score_map).max() < 1e-6
        assert np.allclose(finer.xy, plain.xy, atol=1e-4)
        assert np.array_equal(finer.area_px, plain.area_px)
        assert np.array_equal(finer.mask, plain.mask)
        both = detector.detect_batch([frame, frame], threshold=sdk.LogOdds(-1))
        assert np.array_equal(both[0].log_odds_map, both[1].log_odds_map)
        with pytest.raises(sdk.InputError, match="no log-odds"):
            plain.log_odds_map  # noqa: B018 - a property that raises
        top = float(finer.log_odds_map.max())
        assert len(detector.detect(frame, threshold=sdk.LogOdds(top))) == 0
        assert len(detector.detect(frame, threshold=sdk.LogOdds(math.nextafter(top, 0.0)))) == 1


@pytest.mark.parametrize(
    ("engine", "device"),
    [("torch", "cpu"), ("openvino", "cpu"), ("torch-fused", "cpu"), ("cuda", "cpu"), ("cuda", "host")],
)
def test_other_engines_give_the_same_log_odds(engine: str, device: str, plant: Callable[..., Frames]) -> None:
    reason = next(status for status in sdk.engines() if status.name == engine)
    # The engine `cuda` runs its plan on the CPU as well, whatever it says of a GPU.
    if not reason.usable and engine != "cuda":
        pytest.skip(f"{engine}: {reason.reason}")
    frame = plant((64, 96), {(20, 30): 2, (40, 70): 3}, contrast=300)
    with (
        sdk.Detector("pit-n", engine=engine, device=device) as other,
        sdk.Detector("pit-n", engine="onnxruntime") as first,
    ):
        assert other.gives_log_odds
        theirs, ours = (each.detect(frame, threshold=sdk.LogOdds(2)).log_odds_map for each in (other, first))
        # Sums of some hundred products in float32, in another order, of values up to some tens.
        assert np.abs(theirs - ours).max() < 1e-2
        assert np.abs(other.detect(frame).score_map - 1 / (1 + np.exp(-theirs))).max() < 1e-5


@pytest.mark.parametrize(("engine", "device"), [("cuda", "host"), ("torch-fused", "cpu")])
def test_half_precision_gives_log_odds_in_float32(
    engine: str, device: str, plant: Callable[..., Frames]
) -> None:
    """The last launch writes float32, so that log-odds do not step as halves do."""
    reason = next(status for status in sdk.engines() if status.name == engine)
    if not reason.usable and engine != "cuda":
        pytest.skip(f"{engine}: {reason.reason}")
    frame = plant((64, 96), {(20, 30): 2}, contrast=300)
    with sdk.Detector("pit-n", engine=engine, device=device, precision="fp16", warmup=False) as detector:
        found = detector.detect(frame, threshold=sdk.LogOdds(0))
        values = found.log_odds_map
        assert len(found) == 1
        assert np.abs(detector.detect(frame).score_map - 1 / (1 + np.exp(-values))).max() < 1e-5
    assert (values != values.astype(np.float16)).mean() > 0.5


def test_a_model_of_another_kind_is_refused() -> None:
    with pytest.raises(
        sdk.EngineError, match=r"x\.onnx: its log-odds cannot be had.*a probability as threshold"
    ):
        with_log_odds(b"\x00garbage", "x.onnx")
    content = sdk.open_model("pit-n").read("network.onnx")
    once = with_log_odds(content, "x.onnx")
    assert log_odds_missing(content) == ""
    assert "2 graphs" in log_odds_missing(once)
    with pytest.raises(ValueError, match="2 graphs"):
        read_graph(once)


def test_it_goes_on_where_every_probability_is_one(
    odds_detector: sdk.Detector, plant: Callable[..., Frames]
) -> None:
    low, high = scenes(plant)[[0, 59]]
    between = sdk.LogOdds(
        (
            odds_detector.detect(low, threshold=sdk.LogOdds(0)).log_odds_map.max()
            + odds_detector.detect(high, threshold=sdk.LogOdds(0)).log_odds_map.max()
        )
        / 2
    )
    assert between.log_odds > 36.8
    assert [len(odds_detector.detect(frame, threshold=float(between))) for frame in (low, high)] == [1, 1]
    assert [len(odds_detector.detect(frame, threshold=between)) for frame in (low, high)] == [0, 1]
    (target,) = odds_detector.detect(high, threshold=between)
    assert (target.score, target.area_px) == (1.0, 4)
    assert abs(target.x - 31) < 0.01


def test_a_tight_budget_has_a_threshold_on_scenes_that_look_like_targets(
    make_detector: Callable[..., sdk.Detector],
    odds_detector: sdk.Detector,
    plant: Callable[..., Frames],
    caplog: pytest.LogCaptureFixture,
) -> None:
    budget = sdk.FaBudget(per_frame=0.1)
    with make_detector(engine=SteepEngine()) as plain:
        assert not plain.gives_log_odds
        coarse = sdk.calibrate(plain, open_source(scenes(plant)), budget=budget)
        assert coarse.scale == PROBABILITY
        assert "gives no log-odds" in caplog.text
        with pytest.raises(sdk.InputError, match="reach a probability of 1"):
            coarse.chosen_threshold()
        with pytest.raises(sdk.EngineError, match="gives no log-odds"):
            plain.detect(scenes(plant)[0], threshold=sdk.LogOdds(3))
    made = sdk.calibrate(odds_detector, open_source(scenes(plant)), budget=budget)
    assert made.scale == LOG_ODDS
    threshold = made.chosen_threshold()
    assert isinstance(threshold, sdk.LogOdds)
    alarms = sum(len(odds_detector.detect(frame, threshold=made)) > 0 for frame in scenes(plant))
    assert alarms == made.alarms(threshold) == 1, "of sixty: the most whose bound stays within a tenth"


def test_it_survives_files_streams_and_replay(
    odds_detector: sdk.Detector, plant: Callable[..., Frames], tmp_path: Path
) -> None:
    frames = scenes(plant)
    made = sdk.calibrate(odds_detector, open_source(frames), budget=sdk.FaBudget(per_frame=0.1))
    (tmp_path / "site.json").write_text(made.to_json())
    assert sdk.Calibration.load(tmp_path / "site.json") == made
    recorder = Recorder(tmp_path / "kept")
    with odds_detector.stream(
        list(frames), threshold=tmp_path / "site.json", sinks=[recorder], keep_maps=True
    ) as stream:
        assert repr(stream.threshold) == repr(made.chosen_threshold())
        seen = [len(found) for found in stream]
    assert sum(seen) == 1
    source = open_source(f"replay://{tmp_path / 'kept'}")
    assert isinstance(source, ReplaySource)
    report = rerun(source, odds_detector)
    assert (report.frames, report.differing) == (60, 0)


def test_files_of_before_hold_probabilities(tmp_path: Path) -> None:
    made = sdk.Calibration.of(np.linspace(0, 0.9, 60), model="toy", model_sha256="", source="test")
    text = made.to_json().replace(', "scale": "probability"', "")
    (tmp_path / "site.json").write_text(text)
    assert "scale" not in text
    assert sdk.Calibration.load(tmp_path / "site.json") == made
    for scale, score in (("odds", 0.5), (LOG_ODDS, 2e4), (PROBABILITY, 17.0)):
        with pytest.raises(sdk.InputError, match="scale"):
            sdk.Calibration.of([score], model="", model_sha256="", source="", scale=scale)
