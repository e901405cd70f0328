# SPDX-License-Identifier: Apache-2.0
"""Detections: validated, unchangeable, and the same in every format."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from dataclasses import FrozenInstanceError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitviper import sdk
from pitviper.kernels import extract_targets
from pitviper.sdk.convert import SCHEMA
from pitviper.sdk.maps import ProbabilityMap


def make(count: int = 3, **values: Any) -> sdk.Detections:
    index = np.arange(count)
    given_values: dict[str, Any] = {
        "xy": np.stack([index + 10.25, index + 5.5], 1),
        "xyxy": np.stack([index + 9, index + 4, index + 12, index + 6], 1),
        "score": 0.9 - 0.1 * index,
        "mean": 0.8 - 0.1 * index,
        "area_px": index + 2,
        "snr": 7.0 + index,
        "shape": (64, 80),
    }
    return sdk.Detections(**{**given_values, **values})


def from_map(probability: Any, threshold: float = 0.5, max_targets: int = 256) -> sdk.Detections:
    probability = np.asarray(probability, np.float32)
    targets = extract_targets(probability, None, threshold, max_targets=max_targets)
    return sdk.Detections.from_targets(
        targets, probability.shape, threshold=threshold, probability=ProbabilityMap(probability, threshold)
    )


def test_length_iteration_and_indexing() -> None:
    found = make()
    assert len(found) == 3
    assert [target.x for target in found] == [10.25, 11.25, 12.25]
    assert found[-1] == found[2]
    assert isinstance(found[0], sdk.Target)
    assert found[0].xyxy == (9.0, 4.0, 12.0, 6.0)
    for index in (3, -4):
        with pytest.raises(IndexError):
            found[index]
    for chosen in (slice(1, 3), [1, 2], np.array([False, True, True]), np.array([1, 2])):
        part = found[chosen]
        assert isinstance(part, sdk.Detections)
        assert part.xy.tolist() == found.xy[1:].tolist()
        assert part.shape == found.shape
    assert len(found[[]]) == 0
    with pytest.raises(sdk.InputError, match="3 targets"):
        found[[7]]


def test_nothing_can_be_changed_and_nothing_is_shared() -> None:
    scores = np.array([0.9, 0.8, 0.7])
    found = make(score=scores)
    scores[:] = 0
    assert found.score[0] == np.float32(0.9)
    with pytest.raises(ValueError, match="read-only"):
        found.xy[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        found.threshold = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"xy": np.zeros((2, 2))}, "xy must have"),
        ({"xyxy": np.zeros((3, 3))}, "xyxy must have"),
        ({"snr": "loud"}, "snr"),
        ({"track_id": np.zeros(2)}, "track_id must have"),
        ({"score": np.array([0.5, 1.5, 0.5])}, "probability"),
        ({"score": np.array([0.5, np.nan, 0.5])}, "probability"),
        ({"xy": np.full((3, 2), np.nan)}, "finite"),
        ({"shape": (64,)}, "height, width"),
        ({"shape": (0, 4)}, "height, width"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(sdk.InputError, match=words):
        make(**values)


def test_filter_keeps_what_passes_every_condition() -> None:
    found = make()
    assert found.filter(min_score=0.75).area_px.tolist() == [2, 3]
    assert found.filter(min_score=0.75, min_snr=8).area_px.tolist() == [3]
    assert found.filter(area_px=(3, 3)).area_px.tolist() == [3]
    assert found.filter(lambda each: each.xy[:, 0] > 11).area_px.tolist() == [3, 4]
    assert found.filter(np.array([True, False, True])).area_px.tolist() == [2, 4]
    assert len(make(snr=[np.nan] * 3).filter(min_snr=0)) == 0
    for wrong in (np.array([True]), np.array([1, 0, 1])):
        with pytest.raises(sdk.InputError, match=r"bool \[3\]"):
            found.filter(wrong)


def test_a_score_is_the_threshold_up_to_which_a_target_is_there() -> None:
    probability = np.zeros((40, 40), np.float32)
    probability[4, 4], probability[20:22, 20] = 0.6, 0.9
    found = from_map(probability)
    for target in found:
        assert len(from_map(probability, np.nextafter(target.score, 0))) == (1 if target.score > 0.8 else 2)
    assert len(from_map(probability, float(found.score.min()))) == 1


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.7]))
def test_the_mask_holds_the_pixels_of_the_remaining_targets(seed: int, threshold: float) -> None:
    probability = np.random.default_rng(seed).random((12, 14)).astype(np.float32)
    probability[3, 3] = np.float32(threshold)
    found = from_map(probability, threshold)
    np.testing.assert_array_equal(found.mask, probability.astype(np.float64) > threshold)
    assert found.mask.sum() == found.area_px.sum()
    boxes = {
        (*box, area)
        for box, area in zip(map(tuple, found.xyxy.tolist()), found.area_px.tolist(), strict=True)
    }
    if len(found) > 1 and len(boxes) == len(found):
        part = found[1:]
        assert part.mask.sum() == part.area_px.sum()
        assert not (part.mask & ~found.mask).any()


def test_a_truncated_result_has_only_its_own_targets_in_the_mask() -> None:
    probability = np.zeros((40, 40), np.float32)
    probability[4, 4], probability[20:22, 20], probability[30, 3] = 0.6, 0.9, 0.8
    found = from_map(probability, max_targets=2)
    assert found.flags == ("truncated",)
    assert found.mask.sum() == 3
    assert not found.mask[4, 4]
    np.testing.assert_array_equal(found.score_map, probability)
    with pytest.raises(ValueError, match="read-only"):
        found.score_map[0, 0] = 1


def test_a_sigmoid_that_rounds_above_one_is_one() -> None:
    probability = np.zeros((40, 40), np.float32)
    probability[4, 4] = np.nextafter(np.float32(1), np.float32(2))
    found = from_map(probability)
    assert found.score.tolist() == found.mean.tolist() == [1.0]
    assert found.score_map.max() == 1.0
    probability[4, 4] = 1.1
    with pytest.raises(sdk.InputError, match="logit"):
        from_map(probability)


def test_detections_without_a_map_say_so() -> None:
    with pytest.raises(sdk.InputError, match="no probability map"):
        _ = make().mask


def test_json_never_holds_nan() -> None:
    time = SimpleNamespace(sensor_ns=5, host_ns=None, utc_ns=7)
    found = make(
        snr=[np.nan, np.inf, 3.25], frame_id=7, time=time, flags=("lossy", "ffc", "lossy"), name="a.png"
    )
    values = json.loads(found.to_json(), parse_constant=lambda text: pytest.fail(text))
    assert values == found.to_dict()
    assert "\n" not in found.to_json()
    assert values["schema"] == SCHEMA == "pitviper.detections/1"
    assert (values["frame_id"], values["name"], values["shape"]) == (7, "a.png", [64, 80])
    assert values["flags"] == ["ffc", "lossy"]
    assert values["time"] == {"sensor_ns": 5, "host_ns": None, "utc_ns": 7}
    assert [target["snr"] for target in values["targets"]] == [None, None, 3.25]
    assert values["targets"][1]["x"] == 11.25
    assert set(values["timing"]) == {
        "standardise_ms",
        "network_ms",
        "extract_ms",
        "total_ms",
        "wait_ms",
        "age_ms",
    }


def test_coco_and_mot_keep_their_conventions() -> None:
    found = make(1, frame_id=4)
    assert found.to_coco() == [
        {
            "image_id": 4,
            "category_id": 1,
            "bbox": [9.0, 4.0, 3.0, 2.0],
            "area": 2,
            "score": pytest.approx(0.9),
        }
    ]
    assert found.to_coco(image_id=77)[0]["image_id"] == 77
    # MOT counts frames and pixels from 1.
    assert found.to_mot() == ["5,-1,10,5,3,2,0.9,-1,-1,-1"]


def test_empty_detections_convert_to_empty_everything() -> None:
    none = sdk.Detections.empty((64, 80), frame_id=3)
    assert len(none) == 0
    assert (none.xy.shape, none.xyxy.shape) == ((0, 2), (0, 4))
    assert none.to_coco() == none.to_mot() == none.to_dict()["targets"] == []
    assert len(none.filter(min_score=0.5)) == len(none[:]) == 0


def test_supervision_is_converted_or_named() -> None:
    try:
        import supervision
    except ImportError:
        with pytest.raises(sdk.MissingExtra, match=r"pitviper\[viz\]"):
            make().to_supervision()
        return
    converted = make().to_supervision()
    assert isinstance(converted, supervision.Detections)
    np.testing.assert_array_equal(converted.xyxy, make().xyxy)


def test_supervision_keeps_the_tracks_beside_a_target_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = SimpleNamespace(Detections=lambda **values: SimpleNamespace(**values))
    monkeypatch.setitem(sys.modules, "supervision", stand_in)
    assert make(track_id=np.array([4, -1, 7])).to_supervision().tracker_id.tolist() == [4, -1, 7]
    assert make(track_id=np.array([-1, -1, -1]), tracks=()).to_supervision().tracker_id.tolist() == [-1] * 3
    assert make().to_supervision().tracker_id is None, "no tracker ran"


def test_detections_travel_between_processes() -> None:
    given = from_map(np.eye(40))
    for found in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given)):
        assert len(found) == 1
        assert found.mask.sum() == 40
        with pytest.raises(ValueError, match="read-only"):
            found.xy[0] = 0
