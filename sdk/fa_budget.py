# SPDX-License-Identifier: Apache-2.0
"""`FaBudget`: a threshold by how many false alarms are allowed, instead of by a probability."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from pitviper.core.manifest import Manifest, OperatingPoint, Package
from pitviper.sdk.arguments import require_number
from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.calibration import Calibration

__all__ = ["FaBudget", "Threshold", "resolve_budget"]

Threshold = Union[float, "FaBudget", "Calibration", str, "os.PathLike[str]"]
"""What ``threshold=`` takes: a probability, a budget, a calibration, or the path of a calibration."""

_LOG = logging.getLogger("pitviper")


@dataclass(frozen=True)
class FaBudget:
    """Most false alarms that are allowed; what ``threshold=`` of a `Detector` takes in place of a number.

    Without a calibration the answer comes from the operating points of the weights package, as measured on its
    validation sets: the lowest threshold whose false objects per frame stay within the budget on every set. Those
    frames are not yours: a larger frame has more room for false alarms, and another scene has others. With a
    `Calibration` on your own empty scenes the answer holds there, with its confidence.

    Attributes:
        per_frame: False objects per frame by the package's table; with a calibration the share of frames that have
            any.
        per_hour: The same per hour; with a calibration the blocks of frames that have any. Both given: the stricter.
        fps: Frames per second, needed with ``per_hour`` unless the calibration knows it.
        data: Name of the validation set to go by; None takes the worst of all.
        calibration: A `Calibration`, or the path of its JSON file.

    Raises:
        InputError: No budget, or a value that cannot be.

    Example:
        >>> FaBudget(per_hour=9, fps=25).frames_allowed()
        0.0001
    """

    per_frame: float | None = None
    per_hour: float | None = None
    fps: float | None = None
    data: str | None = None
    calibration: Calibration | str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.per_frame is None and self.per_hour is None:
            raise InputError("a FaBudget needs per_frame= or per_hour=; for example FaBudget(per_frame=0.1)")
        for name in ("per_frame", "per_hour", "fps"):
            if (value := getattr(self, name)) is not None:
                require_number(f"{name} of a FaBudget", value, above=0)

    def frames_allowed(self, *, fps: float | None = None, block: int = 1) -> float:
        """Allowed rate per block of frames: per frame by default.

        Args:
            fps: Frames per second, where the budget has none of its own.
            block: Frames of a block. A share of frames is not multiplied by it: a block with an alarm holds at
                least one frame with one.

        Raises:
            InputError: ``per_hour`` without frames per second.
        """
        rate = self.fps or fps
        allowed = [] if self.per_frame is None else [float(self.per_frame)]
        if self.per_hour is not None:
            if rate is None:
                raise InputError(
                    "per_hour= needs the frames per second: FaBudget(per_hour=..., fps=30), or --fa-fps 30"
                )
            allowed.append(self.per_hour * block / (3600.0 * rate))
        return min(allowed)


def resolve_budget(threshold: Any, package: Package, polarity: str = "bright") -> Any:
    """The probability that a budget or a calibration stands for; anything else is returned as it is.

    Args:
        threshold: A `FaBudget`, a `Calibration`, or the path of a calibration (``.json``).
        package: The model that is going to use it.
        polarity: Of the targets that it is going to look for.

    Raises:
        InputError: The table, or the calibration, cannot answer; the message says what it holds.
    """
    from pitviper.sdk.calibration import Calibration

    if isinstance(threshold, os.PathLike) or (isinstance(threshold, str) and threshold.endswith(".json")):
        threshold = Calibration.load(threshold)
    if isinstance(threshold, Calibration):
        threshold.check_model(package, polarity)
        found = threshold.chosen_threshold()
        _LOG.info("threshold %r from the calibration on %s", found, threshold.source)
        return found
    if not isinstance(threshold, FaBudget):
        return threshold
    given = threshold.calibration
    if given is None:
        found = from_table(threshold, package.manifest)
        _LOG.info("threshold %.6g from the operating points of %s", found, package.manifest.name)
        return found
    calibration = given if isinstance(given, Calibration) else Calibration.load(given)
    calibration.check_model(package, polarity)
    return calibration.threshold_for(threshold)


def from_table(budget: FaBudget, manifest: Manifest) -> float:
    """The lowest threshold of a package's operating points that keeps to a budget.

    Raises:
        InputError: No point does, or the validation sets are too small to tell: with no false alarm in n frames a
            rate below 3 / n is not excluded at 95 %.
    """
    points = [p for p in manifest.operating_points if budget.data in (None, p.data)]
    known = sorted({p.data for p in manifest.operating_points})
    if not points:
        raise InputError(
            f"model {manifest.name!r} was not validated on {budget.data!r}; its table holds "
            f"{', '.join(known) or 'nothing'}"
        )
    allowed = budget.frames_allowed()
    images = [manifest.metrics.get(data, {}).get("images") for data in {p.data for p in points}]
    counted = [int(each) for each in images if each]
    smallest = 3.0 / min(counted) if counted else 0.0
    by_threshold: dict[float, list[OperatingPoint]] = defaultdict(list)
    for point in points:
        by_threshold[point.threshold].append(point)
    for threshold in sorted(by_threshold):
        rates = [point.false_objects_per_frame for point in by_threshold[threshold]]
        measured = [rate for rate in rates if rate is not None]
        if allowed >= smallest and len(measured) == len(rates) and max(measured) <= allowed:
            return threshold
    why = (
        f"its smallest set has {min(counted)} frames, which cannot tell rates below {smallest:.3g}"
        if counted and allowed < smallest
        else f"it holds {_listed(by_threshold)}"
    )
    raise InputError(
        f"the operating points of {manifest.name!r} cannot answer for {allowed:.3g} false objects per frame: {why}. "
        "Allow more, or measure on your own empty scenes: pitviper calibrate SOURCE --out site.json"
    )


def _listed(by_threshold: dict[float, list[OperatingPoint]]) -> str:
    rows = []
    for threshold, points in sorted(by_threshold.items()):
        rates = (
            (
                p.data,
                "not measured" if p.false_objects_per_frame is None else f"{p.false_objects_per_frame:.3g}",
            )
            for p in points
        )
        rows.append(f"{threshold:g} ({', '.join(f'{data} {rate}' for data, rate in rates)})")
    return "; ".join(rows)
