# SPDX-License-Identifier: Apache-2.0
"""`DetectionMetrics`: add images one by one, merge partial sets, compute everything at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pitviper.core.metrics.bootstrap import Interval, bootstrap_intervals
from pitviper.core.metrics.checks import above, check_pair
from pitviper.core.metrics.components import find_components
from pitviper.core.metrics.counts import CountTable, ImageCounts
from pitviper.core.metrics.curves import ScoreHistogram
from pitviper.core.metrics.hierarchical import count_hierarchical
from pitviper.core.metrics.hse import HSE_DISTANCES, HSE_VERSION, SWEEP_THRESHOLDS
from pitviper.core.metrics.pixel import count_pixels
from pitviper.core.metrics.profiles import Profile, get_profile
from pitviper.core.metrics.result import Curves, MetricsResult, SweepCurve
from pitviper.core.metrics.summary import FA_LIMITS, summarise, sweep_curve
from pitviper.core.metrics.sweep import sweep_image
from pitviper.core.metrics.target import count_targets


class DetectionMetrics:
    """Metrics of a set of probability maps against masks.

    Integer counts are kept of each image, so that merging parts gives exactly what the whole gives, in any order.

    Args:
        profile: ``"ours"``, ``"pal"``, ``"dnanet"``, ``"mshnet"``, ``"pyirstd"`` or a `Profile`.
        curves: Also sweep thresholds: HSE, ROC and PR, Pd at fixed Fa. Without it only ``threshold`` is evaluated, at a
            fraction of the cost.
        threshold: A pixel is predicted where probability > threshold, strictly; in [0, 1).
        distance: Centroids less than this many pixels apart can match.

    Raises:
        ValueError: Unknown profile, threshold outside [0, 1) or distance not above 0.

    Example:
        >>> truth = np.zeros((8, 8), bool)
        >>> truth[2:4, 2:4] = True
        >>> metrics = DetectionMetrics()
        >>> _ = metrics.update(truth * 0.9, truth)
        >>> metrics.compute().pd
        1.0
    """

    def __init__(
        self,
        profile: str | Profile = "ours",
        *,
        curves: bool = True,
        threshold: float = 0.5,
        distance: float = 3.0,
    ) -> None:
        if not 0.0 <= threshold < 1.0:
            raise ValueError(f"threshold must lie in [0, 1), got {threshold}")
        if not distance > 0.0:
            raise ValueError(f"distance must be above 0 pixels, got {distance}")
        self.profile = get_profile(profile)
        self.curves = curves
        self.threshold = threshold
        self.distance = distance
        self._images: list[ImageCounts] = []
        self._scores = ScoreHistogram() if curves else None

    def __len__(self) -> int:
        return len(self._images)

    def update(self, probability: ArrayLike, truth: ArrayLike) -> ImageCounts:
        """Add one image and return its counts.

        Args:
            probability: Floating point [H, W] in [0, 1] at the original size of the frame, or a bool prediction.
            truth: bool [H, W].

        Raises:
            TypeError: A dtype is wrong.
            ValueError: Shapes differ, or the probability holds NaN or leaves [0, 1].
        """
        scores, mask = check_pair(probability, truth)
        counts = self._count(scores, mask)
        if self._scores is not None:
            self._scores.add(scores, mask)
        self._images.append(counts)
        return counts

    def merge(self, other: DetectionMetrics) -> None:
        """Add everything that another object of the same settings has seen.

        Raises:
            ValueError: The settings differ.
        """
        if self._settings() != other._settings():
            raise ValueError(
                f"cannot merge metrics with settings {other._settings()} into {self._settings()}"
            )
        self._images.extend(other._images)
        if self._scores is not None and other._scores is not None:
            self._scores.merge(other._scores)

    def compute(self) -> MetricsResult:
        """Divide the counts once and return every metric.

        Raises:
            ValueError: No image was added.
        """
        table = self._table()
        values: dict[str, Any] = {
            name: _plain(value) for name, value in summarise(table, self.profile).items()
        }
        fixed = {f"{limit:g}": values.pop(f"pd_at_fa_{limit:g}", None) for limit in FA_LIMITS}
        counts = {
            name: int(table[f"target_{name}"].sum())
            for name in ("true", "matched", "predicted", "false_pixels")
        }
        return MetricsResult(
            profile=self.profile.name,
            threshold=self.threshold,
            distance_px=self.distance,
            images=table.images,
            targets=counts["true"],
            found=counts["matched"],
            predicted=counts["predicted"],
            false_pixels=counts["false_pixels"],
            hse_version=HSE_VERSION,
            pd_at_fa=fixed if self.curves else None,
            **values,
            **self._score_metrics(table),
        )

    def bootstrap(self, draws: int = 1000, *, seed: int = 0, level: float = 0.95) -> dict[str, Interval]:
        """Percentile intervals over resampled images; see `bootstrap_intervals`."""
        return bootstrap_intervals(self._table(), self.profile, draws=draws, seed=seed, level=level)

    def _settings(self) -> tuple[Any, ...]:
        return self.profile, self.curves, self.threshold, self.distance

    def _count(self, scores: NDArray[Any], mask: NDArray[np.bool_]) -> ImageCounts:
        predicted = above(scores, self.threshold)
        true, found = find_components(mask), find_components(predicted)
        sweep = None
        if self.curves:
            sweep = sweep_image(
                scores,
                mask,
                thresholds=SWEEP_THRESHOLDS,
                distances=HSE_DISTANCES,
                profile=self.profile,
                distance=self.distance,
                components=true,
            )
        return ImageCounts(
            count_pixels(predicted, mask),
            count_targets(true, found, self.profile, self.distance),
            count_hierarchical(true, found, self.profile, self.distance),
            sweep,
        )

    def _table(self) -> CountTable:
        if not self._images:
            raise ValueError(
                "no image was added; call update(probability, truth) before compute() or bootstrap()"
            )
        return CountTable(self._images)

    def _score_metrics(self, table: CountTable) -> dict[str, Any]:
        if self._scores is None:
            return {}
        curve = self._scores.curve()
        sweep = SweepCurve(**sweep_curve(table, self.profile))
        return {
            "auc": curve.auc(),
            "ap": curve.average_precision(),
            "curves": Curves(sweep, curve.roc(), curve.precision_recall()),
        }


def _plain(value: NDArray[np.float64]) -> float | None:
    """The only entry of an array [1]; None for NaN, which JSON does not know."""
    number = float(value[0])
    return None if np.isnan(number) else number
