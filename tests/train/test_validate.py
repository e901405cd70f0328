# SPDX-License-Identifier: Apache-2.0
"""Evaluation in training sees what the detector will see: any size, padded as the kernels pad."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pitviper.core.models import create_model
from pitviper.kernels import standardise
from pitviper.train.data.store import make_frame
from pitviper.train.validate import predict_standardised, predictor, selection_score, validate


@pytest.mark.parametrize("shape", [(48, 64), (41, 67), (33, 33)])
def test_predictor_pads_as_the_kernels_do(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = create_model("pit-n").eval()
    frame = np.random.default_rng(0).integers(0, 16000, shape).astype(np.uint16)
    padded = torch.from_numpy(standardise(frame, stride=network.required_multiple))[None, None]
    with torch.inference_mode():
        want = torch.sigmoid(network(padded))[0, 0, : shape[0], : shape[1]].numpy()
    found = predictor(network)(frame)
    assert found.dtype == np.float32
    assert np.array_equal(found, want)


def test_a_three_plane_network_sees_the_frame_in_each_plane() -> None:
    network = create_model("acm", in_channels=3).eval()
    assert predict_standardised(network, np.zeros((32, 48), np.float32)).shape == (32, 48)


def test_validate_leaves_the_mode_of_the_network() -> None:
    network = create_model("pit-n").train()
    mask = np.zeros((40, 40), np.bool_)
    mask[8, 9] = True
    frame = np.random.default_rng(0).normal(1000, 10, (40, 40)).astype(np.float32)
    found = validate(
        network, {"a": [make_frame("a/0", frame, mask)], "sky": [make_frame("b/0", frame, ~mask & mask)]}
    )
    assert network.training
    assert found["a"].keys() == {"iou", "niou", "pd", "fa_per_mpix", "false_objects_per_frame"}
    assert "pd" not in found["sky"], "no target, no detection rate"
    assert all(np.isfinite(value) for values in found.values() for value in values.values())


def test_selection_score() -> None:
    metrics = {"a": {"iou": 0.6, "pd": 0.8}, "b": {"iou": 0.4, "pd": 1.0}}
    assert selection_score(metrics) == pytest.approx(0.7)
    metrics["sky"] = {"iou": 1.0, "false_objects_per_frame": 0.0}
    assert selection_score(metrics) == pytest.approx((0.7 + 0.7 + 1.0) / 3)


def test_one_false_object_in_a_set_without_targets_does_not_outweigh_what_is_found() -> None:
    """Such a set has an IoU of 1 or 0, and a network that sees nothing keeps the 1."""
    blind = {"own": {"iou": 0.12, "pd": 0.67}, "sky": {"iou": 1.0, "false_objects_per_frame": 0.0}}
    seeing = {"own": {"iou": 0.97, "pd": 1.0}, "sky": {"iou": 0.0, "false_objects_per_frame": 0.2}}
    assert selection_score(seeing) > selection_score(blind)
    quieter = {**seeing, "sky": {"iou": 0.0, "false_objects_per_frame": 0.1}}
    assert selection_score(quieter) > selection_score(seeing)
