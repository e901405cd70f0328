# SPDX-License-Identifier: Apache-2.0
"""Comparing engines on the user's own frames: a target that goes missing is found, named and not shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.datasets import Dataset
from pitviper.sdk.engines import open_engine, openvino
from pitviper.sdk.export import limits_of
from pitviper.sdk.verify import Comparison, Limits, compare, violations

FRAMES = 4
ENGINES = ("onnxruntime", "openvino") if openvino.status().usable else ("onnxruntime",)


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint16]:
    """Targets of 2, 3 and 5 pixels' side, far above the noise, in each frame at another place."""
    scenes = []
    for seed in range(FRAMES):
        scene = np.random.default_rng(seed).normal(7800, 12, (64, 96))
        for side, row in ((2, 8), (3, 24), (5, 44)):
            scene[row : row + side, 20 + 9 * seed : 20 + 9 * seed + side] += 400
        scenes.append(scene.astype(np.uint16))
    return np.stack(scenes)


class Forgetful:
    """ONNX Runtime, but in one call of `run` everything in the upper half is lost."""

    def __init__(self, call: int) -> None:
        self._inner, _ = open_engine("onnxruntime", sdk.open_model("pit-n"), threads=1)
        self.info = self._inner.info
        self.calls, self._call = 0, call

    def run(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        found = self._inner.run(given).copy()
        if self.calls == self._call:
            found[:, :, :40] = 0
        self.calls += 1
        return found

    def close(self) -> None:
        self._inner.close()


def test_the_file_is_compared_in_every_engine_here(tmp_path: Path, frames: NDArray[np.uint16]) -> None:
    with sdk.Detector("pit-n", engine="onnxruntime", threads=1) as detector:
        expected = sum(len(detector.detect(frame)) for frame in frames)
        report = detector.export(tmp_path / "out.onnx", verify=frames)
    assert tuple(each.engine for each in report.comparisons) == ENGINES
    assert expected >= 2 * FRAMES
    for each in report.comparisons:
        assert (each.frames, each.targets, each.lost, each.added) == (FRAMES, expected, 0, 0)
        assert 0 < each.max_abs_difference < 1e-3
        assert each.moved_px < 1e-2
    assert (tmp_path / "out.onnx").is_file()


def test_a_target_lost_in_one_frame_is_named_and_nothing_is_written(
    tmp_path: Path, frames: NDArray[np.uint16]
) -> None:
    # The calls before the frames are those on the two synthetic frames of every export.
    with sdk.Detector("pit-n", engine=Forgetful(call=2 + 3), warmup=False) as detector:
        with pytest.raises(sdk.AccuracyGate) as caught:
            detector.export(tmp_path / "out.onnx", verify=frames)
        assert list(tmp_path.iterdir()) == []
    told = str(caught.value)
    assert "added" in told
    assert "most on frame 3" in told
    assert "probability differs" in told


def test_forced_it_is_written_and_the_report_says_what_is_broken(
    tmp_path: Path, frames: NDArray[np.uint16]
) -> None:
    with sdk.Detector("pit-n", engine=Forgetful(call=2 + 1), warmup=False) as detector:
        report = detector.export(tmp_path / "out.onnx", verify=frames, force=True)
    assert (tmp_path / "out.onnx").is_file()
    assert any("frame 1" in text for text in report.broken)
    assert report.to_dict()["comparisons"][0]["targets_frame"] == "frame 1"


def test_targets_at_the_threshold_may_be_on_either_side(make_detector: Any, plant: Any) -> None:
    detector = make_detector()
    frame = plant((64, 64), {(20, 30): 3})

    def less(image: NDArray[Any]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = detector.detect(image).score_map
        return np.where(found > 0.5, 0.4999, found).astype(np.float32)

    for tolerance, lost, borderline in ((0.6, 0, 1), (1e-3, 1, 0)):
        (found,) = compare(detector, [frame], {"less": less}, Limits(difference=tolerance))
        assert (found.targets, found.lost, found.borderline) == (1, lost, borderline)


def test_a_map_with_nan_is_the_worst_of_all(make_detector: Any, plant: Any) -> None:
    detector = make_detector()
    broken = np.full((64, 64), np.nan, np.float32)
    (found,) = compare(
        detector, [plant((64, 64), {(20, 30): 3})], {"nan": lambda image: broken}, Limits(difference=0.1)
    )
    assert found.max_abs_difference == float("inf")
    assert found.lost == 1
    assert len(violations(found, Limits(difference=0.1))) == 2


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ({"pd": (0.98, 0.96)}, "pd falls from 98.00 to 96.00"),
        ({"iou": (0.75, 0.70)}, "iou falls from 75.00 to 70.00"),
        ({"fa_per_mpix": (20.0, 31.0)}, "fa rises from 20.0 to 31.0"),
    ],
)
def test_limits_on_what_the_masks_say(truth: Any, words: str) -> None:
    limits = Limits(difference=None, lost=1.0, added=1.0, pd_drop=0.01, iou_drop=0.03, fa_rise=10.0)
    values = {"engine": "e", "frames": 1, "max_abs_difference": 1.0, "difference_frame": "a", "targets": 1}
    found = Comparison(**values, lost=1, added=0, borderline=0, moved_px=0, targets_frame="a", truth=truth)
    assert [words in text for text in violations(found, limits)] == [True]
    assert not violations(found, Limits(None, 1.0, 1.0, pd_drop=0.03, iou_drop=0.06, fa_rise=12.0))


def test_in_fp32_one_pixel_at_the_threshold_does_not_refuse_by_the_masks() -> None:
    """It moves IoU in the fourth digit; map and targets have their own limits, which it keeps."""
    truth = {"pd": (0.98, 0.98), "iou": (0.75, 0.7499), "fa_per_mpix": (20.0, 20.1)}
    values = {"engine": "e", "frames": 9, "max_abs_difference": 5e-4, "difference_frame": "a", "targets": 9}
    found = Comparison(**values, lost=0, added=0, borderline=1, moved_px=0.1, targets_frame="", truth=truth)
    assert violations(found, limits_of("fp32", masks=True)) == []
    worse = replace(found, lost=1, targets_frame="b")
    assert len(violations(worse, limits_of("fp32", masks=True))) == 1
    lower = replace(found, truth={**truth, "pd": (0.98, 0.97)})
    assert ["pd" in text for text in violations(lower, limits_of("int8", masks=True))] == [True]


def test_nothing_to_compare_on_is_said(make_detector: Any) -> None:
    with pytest.raises(sdk.InputError, match="no frame to compare on"):
        compare(make_detector(), Dataset("none", Path("none"), "val", (), ""), {}, Limits(difference=0.0))
    with pytest.raises(sdk.InputError, match="live source does not end"):
        compare(make_detector(), lambda: np.zeros((64, 64), np.uint16), {}, Limits(difference=0.0))
