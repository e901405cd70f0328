# SPDX-License-Identifier: Apache-2.0
"""Judge any detector on frames with masks: the metrics, one row an image, and the worst misses and false alarms."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pitviper.core.datasets import Sample, read_sample
from pitviper.core.metrics import DetectionMetrics, Interval, MetricsResult
from pitviper.core.metrics.checks import above
from pitviper.core.metrics.components import Components, find_components
from pitviper.core.metrics.matching import centroid_distances
from pitviper.core.metrics.stratified import ClassCounts, ClassResult
from pitviper.core.metrics.target import match_targets

__all__ = ["Evaluation", "Event", "ImageRow", "evaluate"]

Predict = Callable[[NDArray[Any]], NDArray[np.float32]]
Progress = Callable[[int, int | None, str], None]

# Side of the square cut out around an event, in pixels; each divides the side of a picture on the overlay sheet.
_WINDOWS = (40, 70, 140, 280)


@dataclass(frozen=True)
class ImageRow:
    """One image: IoU in [0, 1] and counts of components; ``false_pixels`` is its part of Fa."""

    name: str
    height: int
    width: int
    iou: float
    targets: int
    matched: int
    missed: int
    false_objects: int
    false_pixels: int


@dataclass(frozen=True)
class Event:
    """A missed target or a false alarm, with the pixels around it.

    Attributes:
        x: Column of its centroid in the frame, pixels; the centre of the first pixel is 0.5.
        y: Row of its centroid, likewise.
        peak: Largest probability on its pixels, in [0, 1].
        nearest_px: Distance to the nearest centroid of the other side (prediction for a miss, target for a false
            alarm) in pixels; None if there is none.
        frame: Raw values [h, w] of the window around it, in the type of the frame.
        truth: bool [h, w].
        predicted: bool [h, w].
    """

    kind: Literal["miss", "false alarm"]
    name: str
    x: float
    y: float
    area_px: int
    peak: float
    nearest_px: float | None
    frame: NDArray[Any] = field(repr=False)
    truth: NDArray[np.bool_] = field(repr=False)
    predicted: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        metrics: The numbers of the set.
        intervals: Bootstrap intervals over images by metric name; empty if none were asked for.
        rows: One row an image, the worst first (most misses and false objects, then lowest IoU).
        misses: Worst missed targets first: the largest, then those with the lowest probability.
        false_alarms: Worst false alarms first: the highest probability, then the largest.
        predict_ms: Mean time of ``predict`` for a frame, in milliseconds; not a benchmark.
        classes: Targets by their class, all of ``core.metrics.CLASSES``.
    """

    metrics: MetricsResult
    intervals: Mapping[str, Interval]
    rows: tuple[ImageRow, ...]
    misses: tuple[Event, ...]
    false_alarms: tuple[Event, ...]
    predict_ms: float
    classes: Mapping[str, ClassResult]

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """Plain JSON values: metrics with the threshold sweep, intervals, classes and, if asked for, the rows."""
        plain: dict[str, Any] = {
            "metrics": self.metrics.to_dict(curves=True),
            "intervals": {name: asdict(interval) for name, interval in self.intervals.items()},
            "predict_ms": self.predict_ms,
            "classes": {name: result.to_dict() for name, result in self.classes.items()},
        }
        if rows:
            plain["rows"] = [asdict(row) for row in self.rows]
        return plain


def evaluate(
    predict: Predict,
    samples: Iterable[Sample],
    *,
    metrics: DetectionMetrics | None = None,
    draws: int = 1000,
    max_events: int = 24,
    progress: Progress | None = None,
) -> Evaluation:
    """Run a detector over samples and judge it at the original size of every frame.

    Args:
        predict: From a raw frame [H, W] to its probability float32 [H, W] in [0, 1].
        samples: Frames with masks, such as ``open_dataset(root, "val").samples``.
        metrics: Empty `DetectionMetrics` whose settings are used (profile, threshold, curves); None: the defaults.
        draws: Bootstrap draws over images; 0 computes no intervals.
        max_events: How many misses and how many false alarms are kept.
        progress: Called with (images done, images in all or None, name) after every image.

    Raises:
        ValueError: No sample, ``metrics`` is not empty, or ``predict`` returned a map of another size, with NaN or
            outside [0, 1]; the message names the sample.
        DatasetError: A frame or a mask cannot be read.
    """
    metrics = DetectionMetrics() if metrics is None else metrics
    if len(metrics):
        raise ValueError(f"metrics already holds {len(metrics)} images; pass a new DetectionMetrics")
    total = len(samples) if isinstance(samples, Sized) else None
    rows: list[ImageRow] = []
    misses, false_alarms = _Worst(max_events, _miss_rank), _Worst(max_events, _false_alarm_rank)
    seconds, by_class = 0.0, ClassCounts()
    for sample in samples:
        frame, truth = read_sample(sample)
        start = time.perf_counter()
        probability = np.asarray(predict(frame))
        seconds += time.perf_counter() - start
        rows.append(_judge(metrics, sample.name, probability, truth))
        predicted = above(probability, metrics.threshold)
        by_class.add(frame, predicted, truth, profile=metrics.profile, distance=metrics.distance)
        if rows[-1].missed or rows[-1].false_objects:
            for event in _events(sample.name, frame, probability, truth, metrics):
                (misses if event.kind == "miss" else false_alarms).add(event)
        if progress is not None:
            progress(len(rows), total, sample.name)
    if not rows:
        raise ValueError("no sample to evaluate; check the data set and the split")
    return Evaluation(
        metrics=metrics.compute(),
        intervals=metrics.bootstrap(draws) if draws else {},
        rows=tuple(sorted(rows, key=lambda row: (-row.missed - row.false_objects, row.iou, row.name))),
        misses=misses.sorted(),
        false_alarms=false_alarms.sorted(),
        predict_ms=1e3 * seconds / len(rows),
        classes=by_class.results(),
    )


def _judge(
    metrics: DetectionMetrics, name: str, probability: NDArray[Any], truth: NDArray[np.bool_]
) -> ImageRow:
    try:
        counts = metrics.update(probability, truth)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
    target = counts.target
    return ImageRow(
        name=name,
        height=truth.shape[0],
        width=truth.shape[1],
        iou=counts.iou,
        targets=target.true,
        matched=target.matched,
        missed=target.true - target.matched,
        false_objects=target.predicted - target.matched,
        false_pixels=target.false_pixels,
    )


def _events(
    name: str,
    frame: NDArray[Any],
    probability: NDArray[Any],
    truth: NDArray[np.bool_],
    metrics: DetectionMetrics,
) -> list[Event]:
    """Every unmatched component of one image."""
    predicted = above(probability, metrics.threshold)
    true, found = find_components(truth), find_components(predicted)
    pairs = match_targets(true, found, metrics.profile, metrics.distance)
    distances = centroid_distances(true, found)
    events = []
    sides: tuple[
        tuple[Literal["miss", "false alarm"], Components, NDArray[np.int64], NDArray[np.float64]], ...
    ] = (
        ("miss", true, pairs[:, 0], distances),
        ("false alarm", found, pairs[:, 1], distances.T),
    )
    for kind, components, matched, apart in sides:
        for index in np.setdiff1d(np.arange(len(components)), matched):
            pixels = components.pixels[components.labels == index]
            window = _window(pixels, truth.shape)
            y, x = components.centroid_yx[index] + 0.5
            events.append(
                Event(
                    kind=kind,
                    name=name,
                    x=float(x),
                    y=float(y),
                    area_px=len(pixels),
                    peak=float(probability.reshape(-1)[pixels].max()),
                    nearest_px=float(apart[index].min()) if apart.shape[1] else None,
                    frame=frame[window].copy(),
                    truth=truth[window].copy(),
                    predicted=predicted[window].copy(),
                )
            )
    return events


def _window(pixels: NDArray[np.int64], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A square around the pixels, twice their extent or more, moved into the frame [H, W]."""
    place = np.divmod(pixels, shape[1])
    extent = max(int(np.ptp(axis)) + 1 for axis in place)
    side = next((side for side in _WINDOWS if side >= 2 * extent), _WINDOWS[-1])
    slices = []
    for axis, length in zip(place, shape, strict=True):
        start = (int(axis.min()) + int(axis.max()) + 1) // 2 - side // 2
        start = max(0, min(start, length - side))
        slices.append(slice(start, min(length, start + side)))
    return slices[0], slices[1]


def _miss_rank(event: Event) -> tuple[Any, ...]:
    return -event.area_px, event.peak, event.name, event.y, event.x


def _false_alarm_rank(event: Event) -> tuple[Any, ...]:
    return -event.peak, -event.area_px, event.name, event.y, event.x


class _Worst:
    """The first ``limit`` events by rank, holding at most twice as many at any time."""

    def __init__(self, limit: int, rank: Callable[[Event], tuple[Any, ...]]) -> None:
        self.limit, self.rank = limit, rank
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) > 2 * self.limit:
            self.events = list(self.sorted())

    def sorted(self) -> tuple[Event, ...]:
        return tuple(sorted(self.events, key=self.rank)[: self.limit])
