# SPDX-License-Identifier: Apache-2.0
"""Does another way to run a model give the same targets? Compared frame by frame, on the user's own frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitviper.core.datasets import Dataset, read_sample
from pitviper.core.metrics import DetectionMetrics
from pitviper.core.metrics.matching import match_optimal
from pitviper.kernels import Targets, extract_targets
from pitviper.sdk.errors import EngineError, InputError

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector

__all__ = ["MATCH_PX", "Comparison", "Limits", "NamedFrame", "compare", "named_frames", "violations"]

MapOf = Callable[[NDArray[Any]], NDArray[np.float32]]
"""From a raw frame [H, W] to its probability float32 [H, W]."""

MATCH_PX: Final = 1.0
"""Centroids closer than this are the same target: most targets here are two to five pixels wide."""


@dataclass(frozen=True)
class Limits:
    """How far a comparison may go before it is refused.

    Attributes:
        difference: Largest difference of one pixel's probability; None asks for no limit. A target whose peak lies
            within it of the threshold may be on either side and is not counted as lost or added.
        lost: Share of the detector's targets that may be lost, in [0, 1].
        added: Targets that may be added, as a share of the detector's.
        pd_drop: How much Pd may fall, where the frames have masks.
        iou_drop: How much IoU may fall, likewise.
        fa_rise: How much Fa may rise, in pixels per million pixels, likewise.
    """

    difference: float | None
    lost: float = 0.0
    added: float = 0.0
    pd_drop: float = 0.0
    iou_drop: float = 0.0
    fa_rise: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """One way to run the model beside the running detector, over all frames.

    Attributes:
        engine: What ran it, with version and precision.
        frames: Frames that were compared.
        max_abs_difference: Largest difference of one pixel's probability.
        difference_frame: Name of the frame where that is.
        targets: Targets that the detector found.
        lost: Targets of the detector without a counterpart within `MATCH_PX`.
        added: Targets that only the other way gives.
        borderline: Targets that only one of the two gives and whose peak lies within the allowed difference of the
            threshold; in neither of the counts before.
        moved_px: Largest distance of two counterparts in pixels.
        targets_frame: Name of the frame with the most lost and added targets; empty when there is none.
        truth: With masks: ``pd``, ``iou`` and ``fa_per_mpix`` of the detector and of the other way, each a pair.
    """

    engine: str
    frames: int
    max_abs_difference: float
    difference_frame: str
    targets: int
    lost: int
    added: int
    borderline: int
    moved_px: float
    targets_frame: str
    truth: Mapping[str, tuple[float | None, float | None]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, safe for JSON."""
        return asdict(self)


class NamedFrame(NamedTuple):
    """A raw frame [H, W], its name for reports, and its mask where the frames have one."""

    name: str
    image: NDArray[Any]
    mask: NDArray[np.bool_] | None


def compare(
    detector: Detector, frames: Any, ways: Mapping[str, MapOf], limits: Limits
) -> tuple[Comparison, ...]:
    """Run every frame through the detector and through each other way.

    Args:
        detector: The reference, with its threshold.
        frames: What `open_source` accepts and ends, or a `Dataset`, whose masks then give Pd, IoU and Fa as well.
        ways: Other ways to run the model, by what reports call them.
        limits: ``difference`` says which targets are borderline.

    Raises:
        InputError: A live source, or no frame at all.
        SourceError: The frames cannot be read.
    """
    tallies = [_Tally(name, detector.threshold, limits.difference or 0.0) for name in ways]
    truth = [DetectionMetrics(threshold=detector.threshold, curves=False) for _ in range(len(ways) + 1)]
    count = 0
    for frame in named_frames(frames):
        count += 1
        ours = detector.detect(frame.image).score_map
        if frame.mask is not None:
            truth[0].update(ours, frame.mask)
        for tally, metrics, way in zip(tallies, truth[1:], ways.values(), strict=True):
            theirs = way(frame.image)
            tally.add(frame.name, ours, theirs)
            if frame.mask is not None:
                metrics.update(theirs, frame.mask)
    if not count:
        raise InputError("no frame to compare on; pass frames of the scenes that the detector will see")
    told = [_truth(truth[0], metrics) if len(metrics) else None for metrics in truth[1:]]
    return tuple(tally.comparison(count, found) for tally, found in zip(tallies, told, strict=True))


def violations(found: Comparison, limits: Limits) -> list[str]:
    """A sentence for every limit that a comparison breaks, each with the frame to look at."""
    broken = []
    if limits.difference is not None and not found.max_abs_difference <= limits.difference:
        broken.append(
            f"probability differs by {found.max_abs_difference:.2g} on {found.difference_frame}, allowed is "
            f"{limits.difference:g}"
        )
    for count, share, word in ((found.lost, limits.lost, "lost"), (found.added, limits.added, "added")):
        if count > share * found.targets:
            broken.append(
                f"{count} of {found.targets} targets {word} (allowed {100 * share:g} %), most on {found.targets_frame}"
            )
    for key, drop in (("pd", limits.pd_drop), ("iou", limits.iou_drop)):
        before, after = (found.truth or {}).get(key, (None, None))
        if before is not None and after is not None and before - after > drop:
            broken.append(
                f"{key} falls from {100 * before:.2f} to {100 * after:.2f} % (allowed {100 * drop:g} points), most "
                f"on {found.targets_frame or found.difference_frame}"
            )
    before, after = (found.truth or {}).get("fa_per_mpix", (None, None))
    if before is not None and after is not None and after - before > limits.fa_rise:
        broken.append(
            f"fa rises from {before:.1f} to {after:.1f} pixels per million (allowed {limits.fa_rise:g} more)"
        )
    return broken


class _Tally:
    """Counts of one way, frame by frame."""

    def __init__(self, engine: str, threshold: float, tolerance: float) -> None:
        self._engine, self._threshold, self._tolerance = engine, threshold, tolerance
        self._difference, self._difference_frame = -1.0, ""
        self._most, self._targets_frame = 0, ""
        self._targets = self._lost = self._added = self._borderline = 0
        self._moved = 0.0

    def add(self, name: str, ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
        if theirs.shape != ours.shape:
            raise EngineError(
                f"{self._engine} gives a map {list(theirs.shape)} for {name}, the detector {list(ours.shape)}"
            )
        # Written so that NaN counts as the largest difference of all.
        gap = np.abs(theirs - ours)
        difference = float(gap.max()) if np.isfinite(gap).all() else float("inf")
        if difference > self._difference:
            self._difference, self._difference_frame = difference, name
        first, second = (_targets(each, self._threshold) for each in (ours, theirs))
        lost, added, moved = _unmatched(first, second)
        clear = [int(self._clear(targets.peak[gone])) for targets, gone in ((first, lost), (second, added))]
        self._targets += len(first.xy)
        self._lost, self._added = self._lost + clear[0], self._added + clear[1]
        self._borderline += int(lost.sum() + added.sum()) - sum(clear)
        self._moved = max(self._moved, moved)
        if sum(clear) > self._most:
            self._most, self._targets_frame = sum(clear), name

    def _clear(self, peaks: NDArray[np.float32]) -> int:
        return int((np.abs(peaks - self._threshold) > self._tolerance).sum())

    def comparison(
        self, frames: int, truth: dict[str, tuple[float | None, float | None]] | None
    ) -> Comparison:
        return Comparison(
            engine=self._engine,
            frames=frames,
            max_abs_difference=self._difference,
            difference_frame=self._difference_frame,
            targets=self._targets,
            lost=self._lost,
            added=self._added,
            borderline=self._borderline,
            moved_px=self._moved,
            targets_frame=self._targets_frame,
            truth=truth,
        )


def _targets(probability: NDArray[np.float32], threshold: float) -> Targets:
    usable = np.nan_to_num(probability, nan=0.0, posinf=1.0, neginf=0.0)
    return extract_targets(np.ascontiguousarray(usable), None, threshold, max_targets=usable.size)


def _unmatched(first: Targets, second: Targets) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float]:
    """Which targets of each list have no counterpart in the other, and the largest distance of those that have."""
    distances = np.linalg.norm(first.xy[:, None] - second.xy[None], axis=2)
    pairs = match_optimal(distances, distances < MATCH_PX)
    lost, added = np.ones(len(first.xy), np.bool_), np.ones(len(second.xy), np.bool_)
    lost[pairs[:, 0]] = False
    added[pairs[:, 1]] = False
    return lost, added, float(distances[pairs[:, 0], pairs[:, 1]].max(initial=0.0))


def _truth(ours: DetectionMetrics, theirs: DetectionMetrics) -> dict[str, tuple[float | None, float | None]]:
    first, second = ours.compute(), theirs.compute()
    return {key: (getattr(first, key), getattr(second, key)) for key in ("pd", "iou", "fa_per_mpix")}


def named_frames(frames: Any) -> Iterator[NamedFrame]:
    """The frames of what `open_source` accepts and ends, or of a `Dataset` with its masks.

    Raises:
        InputError: A live source. SourceError: The frames cannot be read.
    """
    if isinstance(frames, Dataset):
        for sample in frames.samples:
            image, mask = read_sample(sample)
            yield NamedFrame(sample.name, image, mask)
        return
    from pitviper.sdk.sources import open_source

    with open_source(frames) as source:
        if source.info.live:
            raise InputError(f"{source.info.name}: a live source does not end; record it and pass the file")
        for frame in source:
            yield NamedFrame(frame.name or f"frame {frame.index}", frame.image, None)
