# SPDX-License-Identifier: Apache-2.0
"""The detector with a toy engine: input rules, invariances, batches, threads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk

Plant = Callable[..., Any]
TARGETS = {(10, 20): 1, (40, 60): 2, (70, 30): 3, (20, 100): 9}


def same(first: sdk.Detections, second: sdk.Detections) -> bool:
    keys = ("xy", "xyxy", "score", "mean", "area_px", "snr")
    return first.shape == second.shape and all(
        np.array_equal(getattr(first, key), getattr(second, key), equal_nan=True) for key in keys
    )


def test_planted_targets_are_found_where_they_are(detector: sdk.Detector, plant: Plant) -> None:
    found = detector.detect(plant((96, 131), TARGETS))
    assert found.shape == (96, 131)
    assert sorted(found.area_px.tolist()) == [1, 4, 9, 81]
    for (row, column), side in TARGETS.items():
        centre = np.array([column + side / 2, row + side / 2])
        # The blob's pixels differ a little in probability: a tenth of a pixel is far below half of one.
        assert np.abs(found.xy - centre).max(axis=1).min() < 0.1
    assert found.timing.total_ms >= found.timing.standardise_ms + found.timing.network_ms
    assert found.threshold == 0.5


def test_gain_and_offset_do_not_matter(detector: sdk.Detector, plant: Plant) -> None:
    frame = plant((96, 128), TARGETS).astype(np.float32) / 8
    base = detector.detect(frame)
    assert len(base) == len(TARGETS)
    for other in (37 * frame + 1200, np.rint(frame * 8).astype(np.uint16)):
        found = detector.detect(other)
        np.testing.assert_array_equal(found.xyxy, base.xyxy)
        np.testing.assert_allclose(found.score, base.score, atol=1e-4)


def test_equal_frames_in_other_clothes_give_equal_targets(detector: sdk.Detector, plant: Plant) -> None:
    frame = plant((64, 96), {(30, 40): 2})
    base = detector.detect(frame)
    assert len(base) == 1
    wide = np.zeros((64, 192), np.uint16)
    wide[:, ::2] = frame
    locked = frame.copy()
    locked.setflags(write=False)
    for other in (
        frame[:, :, None],
        np.repeat(frame[:, :, None], 3, axis=2),
        frame.astype(">u2"),
        wide[:, ::2],
        locked,
        np.asfortranarray(frame),
        frame.astype(np.float32),
    ):
        assert same(detector.detect(other), base)


def test_a_frame_is_not_written_to(detector: sdk.Detector, plant: Plant) -> None:
    frame = plant((64, 64), {(5, 5): 2})
    before = frame.copy()
    detector.detect(frame)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (np.zeros((0, 64), np.uint16), ["empty", "(0, 64)"]),
        (np.zeros((4, 64, 64), np.uint16), ["3-D", "(4, 64, 64)", "detect_batch"]),
        (np.zeros((1, 1, 64, 64), np.uint16), ["4-D", "one frame"]),
        (np.zeros(64, np.uint16), ["1-D", "reshape"]),
        (np.zeros((64, 64), np.int16), ["int16", "astype"]),
        (np.zeros((64, 64)), ["float64", "np.float32"]),
        (np.zeros((64, 64), bool), ["bool", "counts"]),
        (np.zeros((64, 64), complex), ["complex"]),
        (np.zeros((31, 64), np.uint16), ["31x64", "32x32"]),
        ([np.zeros((64, 64), np.uint16)], ["list", "detect_batch"]),
        (None, ["NoneType", "cv2.imread"]),
        (np.ma.masked_array(np.zeros((64, 64), np.uint16)), ["MaskedArray", "filled"]),
        (
            np.stack([np.zeros((64, 64), np.uint8)] * 2 + [np.ones((64, 64), np.uint8)], 2),
            ["unequal", "palette"],
        ),
    ],
)
def test_what_is_no_frame_is_refused(detector: sdk.Detector, frame: Any, words: list[str]) -> None:
    with pytest.raises(sdk.InputError) as caught:
        detector.detect(frame)
    for word in words:
        assert word in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_values_that_are_not_finite_are_counted(detector: sdk.Detector, bad: float, dtype: Any) -> None:
    frame = np.zeros((64, 64), dtype)
    frame[3, 4] = frame[60, 2] = frame[0, 0] = bad
    with pytest.raises(sdk.InputError, match=r"\b3\b.*infinite"):
        detector.detect(frame)
    with pytest.raises(sdk.InputError, match="frame 1: "):
        detector.detect_batch([np.zeros((64, 64), dtype), frame])


def test_a_path_is_read_in_its_native_depth(detector: sdk.Detector, plant: Plant, tmp_path: Path) -> None:
    frame = plant((64, 64), {(5, 5): 2})
    Image.fromarray(frame).save(tmp_path / "frame.png")
    assert same(detector.detect(tmp_path / "frame.png"), detector.detect(frame))
    with pytest.raises(sdk.SourceError, match=r"missing\.png"):
        detector.detect(str(tmp_path / "missing.png"))


def test_eight_bits_are_flagged_and_sixteen_are_not(detector: sdk.Detector) -> None:
    assert "agc_suspected" in detector.detect(np.zeros((64, 64), np.uint8)).flags
    assert detector.detect(np.zeros((64, 64), np.uint16)).flags == ()


def test_more_targets_than_allowed_are_flagged(make_detector: Plant, plant: Plant) -> None:
    found = make_detector(max_targets=2).detect(plant((96, 128), TARGETS))
    assert len(found) == 2
    assert "truncated" in found.flags


def test_a_batch_equals_its_frames_one_by_one(detector: sdk.Detector, plant: Plant, engine: Any) -> None:
    frames = [plant((64, 96), {(9 + i, 20): 2}, seed=i) for i in range(10)]
    frames[3:3] = [plant((40, 50), {(9, 9): 3}, seed=99)]
    single = [detector.detect(frame) for frame in frames]
    engine.shapes.clear()
    together = detector.detect_batch(frames)
    assert [len(found) for found in single] == [1] * 11
    assert all(same(one, two) for one, two in zip(single, together, strict=True))
    assert [found.frame_id for found in together] == list(range(11))
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(single, together, strict=True))
    # Ten frames of one size and one of another: the ten go in passes of eight and two.
    assert sorted(shape[0] for shape in engine.shapes) == [1, 2, 8]


def test_a_batch_is_always_a_list(detector: sdk.Detector) -> None:
    assert detector.detect_batch([]) == []
    assert len(detector.detect_batch(np.zeros((1, 64, 64), np.uint16))) == 1
    assert isinstance(detector.detect_batch(iter([np.zeros((64, 64), np.uint16)])), list)
    for one in (np.zeros((64, 64), np.uint16), "frame.png"):
        with pytest.raises(sdk.InputError, match="use detect"):
            detector.detect_batch(one)
    with pytest.raises(sdk.InputError, match=r"frame 1: .*empty"):
        detector.detect_batch([np.zeros((64, 64), np.uint16), np.zeros((0, 0), np.uint16)])


def test_threshold_and_its_alias(
    detector: sdk.Detector, plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    frame = plant((64, 64), {(20, 20): 2, (40, 40): 2}, contrast=110)
    loose, strict = detector.detect(frame, threshold=0.01), detector.detect(frame, threshold=0.999)
    assert len(loose) > len(strict)
    with caplog.at_level(logging.WARNING, "pitviper"):
        assert same(detector.detect(frame, conf=0.01), loose)
        detector(frame, conf=0.01)
    assert len([record for record in caplog.records if "conf=" in record.message]) <= 1
    for bad in (1.0, -0.1, float("nan"), "high"):
        with pytest.raises(sdk.InputError, match="threshold"):
            detector.detect(frame, threshold=bad)
    with pytest.raises(sdk.InputError, match="both"):
        detector.detect(frame, threshold=0.5, conf=0.5)
    with pytest.raises(sdk.InputError, match="never resized"):
        detector.detect(frame, imgsz=640)
    with pytest.raises(TypeError, match="treshold"):
        detector.detect(frame, treshold=0.5)


def test_an_engine_that_breaks_its_promise_is_named(detector: sdk.Detector, engine: Any) -> None:
    frame = np.zeros((64, 64), np.uint16)
    engine.run = lambda frames: np.full_like(frames, np.nan)
    with pytest.raises(sdk.EngineError, match="NaN"):
        detector.detect(frame)
    engine.run = lambda frames: np.full_like(frames, 3.0)
    with pytest.raises(sdk.EngineError, match="logit"):
        detector.detect(frame)
    engine.run = lambda frames: frames[:, :, 1:]
    with pytest.raises(sdk.EngineError, match=r"\[1, 1, 64, 64\]"):
        detector.detect(frame)


def test_closing_is_final_and_results_outlive_it(make_detector: Plant, plant: Plant, engine: Any) -> None:
    with make_detector() as detector:
        found = detector.detect(plant((64, 64), {(20, 20): 2}))
    detector.close()
    assert engine.closed
    assert found.mask.sum() == 4
    with pytest.raises(sdk.EngineError, match="closed"):
        detector.detect(np.zeros((64, 64), np.uint16))


def test_many_threads_get_what_one_gets(detector: sdk.Detector, plant: Plant) -> None:
    shapes = [(64, 96), (96, 64), (40, 40), (64, 96)]
    frames = [plant(shapes[i % 4], {(5 + i % 20, 7 + i % 23): 1 + i % 3}, seed=i) for i in range(48)]
    serial = [detector.detect(frame) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            parallel = list(pool.map(detector.detect, frames))
            for one, two in zip(serial, parallel, strict=True):
                assert same(one, two)
                np.testing.assert_array_equal(one.score_map, two.score_map)


@pytest.mark.parametrize(
    "values",
    [
        {"device": "cpu"},
        {"max_targets": 0},
        {"max_targets": 2.5},
        {"max_targets": "4"},
        {"threads": 0},
        {"threads": "2"},
        {"threshold": 2.0},
        {"imgsz": 640},
        {"conf": -1},
        {"tile": 5},
        {"warmup": (64,)},
        {"warmup": 64},
        {"half": 1},
        {"half": True, "precision": "fp32"},
    ],
)
def test_settings_out_of_range_are_refused(make_detector: Plant, values: dict[str, Any]) -> None:
    with pytest.raises(sdk.InputError):
        make_detector(**values)


def test_half_is_an_alias_that_onnxruntime_does_not_offer(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pitviper"):
        for _ in range(2):
            with pytest.raises(sdk.EngineUnavailable, match="does not run precision 'fp16'"):
                sdk.Detector("pit-n", engine="onnxruntime", half=True)
    assert len([record for record in caplog.records if "half=True" in record.message]) <= 1
    with sdk.Detector("pit-n", half=False, threads=1) as detector:
        assert detector.engine_info.precision == "fp32"
        with pytest.raises(sdk.InputError, match="precision="):
            detector.detect(np.zeros((64, 64), np.uint16), half=True)


def test_a_result_of_a_file_carries_its_name(make_detector: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(path)
    with make_detector() as detector:
        assert detector.detect(paths[0]).name == "a.png"
        found = detector.detect_batch([paths[0], np.zeros((40, 40), np.uint8), str(paths[1])])
        assert [each.name for each in found] == ["a.png", None, "b.png"]
        with pytest.raises(sdk.SourceError, match=r"a folder, not one image; .* stream the folder"):
            detector.detect(tmp_path)
        with pytest.raises(sdk.InputError, match="could not read; check the path or the camera"):
            detector.detect(None)
        with pytest.raises(sdk.InputError, match=r"pass the one of its 4 planes"):
            detector.detect(np.zeros((40, 40, 4), np.uint8))
