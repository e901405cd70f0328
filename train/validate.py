# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a network in training: the same standardisation, padding, threshold and metrics as everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pitviper.core.metrics import DetectionMetrics
from pitviper.core.models import DetectorNetwork
from pitviper.kernels import standardise
from pitviper.train.data.store import StoredFrame

Metrics = dict[str, dict[str, float]]
EARLY_KEYS = ("iou", "niou", "pd", "fa_per_mpix", "false_objects_per_frame")


def predict_standardised(network: DetectorNetwork, image: NDArray[Any]) -> NDArray[np.float32]:
    """Probability float32 [H, W] of one standardised frame [H, W], padded by reflection to the network's multiple."""
    height, width = image.shape
    multiple = network.required_multiple
    padding = ((0, -height % multiple), (0, -width % multiple))
    padded = np.pad(np.asarray(image, np.float32), padding, mode="reflect")
    parameter = next(network.parameters())
    batch = torch.from_numpy(padded)[None, None].to(parameter.device)
    channels = batch.expand(-1, network.in_channels, -1, -1)
    with torch.inference_mode():
        probability = torch.sigmoid(network(channels).float())[0, 0, :height, :width]
    result: NDArray[np.float32] = probability.cpu().numpy()
    return result


def predictor(network: DetectorNetwork) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """A function from a raw frame [H, W] to its probability [H, W], for ``core.evaluation.evaluate``."""
    network = network.eval()
    return lambda frame: predict_standardised(network, standardise(frame))


def validate(network: DetectorNetwork, sets: Mapping[str, Sequence[StoredFrame]]) -> Metrics:
    """Threshold-0.5 metrics of a network on standardised frames, by set.

    Returns:
        Per set: ``iou``, ``niou`` and ``pd`` in [0, 1], ``fa_per_mpix`` in false-alarm pixels per million pixels and
        ``false_objects_per_frame``. A set without targets has no ``pd``.
    """
    training = network.training
    network.eval()
    results: Metrics = {}
    for name, frames in sets.items():
        metrics = DetectionMetrics(curves=False)
        for frame in frames:
            metrics.update(predict_standardised(network, frame.image), frame.mask)
        values = metrics.compute().to_dict()
        results[name] = {key: float(values[key]) for key in EARLY_KEYS if values[key] is not None}
    network.train(training)
    return results


def selection_score(metrics: Metrics) -> float:
    """What the best epoch is chosen by, in [0, 1]: the mean over the validation sets.

    A set counts with (IoU + Pd) / 2; one without targets, whose IoU is 1 or 0 for a single pixel, with
    1 / (1 + false objects a frame).
    """
    return float(np.mean([_score(each) for each in metrics.values()]))


def _score(metrics: Mapping[str, float]) -> float:
    if "pd" in metrics:
        return (metrics["iou"] + metrics["pd"]) / 2
    return 1.0 / (1.0 + metrics["false_objects_per_frame"])
