# SPDX-License-Identifier: Apache-2.0
"""Layers under the roof that memory and arithmetic put over them. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pitviper.kernels.cost import Cost
from pitviper.sdk.errors import MissingExtra, SinkError

__all__ = ["Point", "draw_roofline"]

NUMBERED = 8
"""Of the points that take longest: numbered, with their names and shares of the time beside the picture."""


@dataclass(frozen=True)
class Point:
    """One layer or launch: what it needs, and the milliseconds that it took."""

    name: str
    cost: Cost
    ms: float


def draw_roofline(
    path: Path, points: Sequence[Point], *, gigabytes_per_s: float, gigaoperations_per_s: float, title: str
) -> None:
    """Write a picture of operations a second over operations a byte, both axes logarithmic; areas are shares of time.

    Args:
        path: File to write; its suffix says the format.
        points: Those without arithmetic are left out: they have no place on these axes.
        gigabytes_per_s: Slope of the roof.
        gigaoperations_per_s: Its height.
        title: Device and conditions.

    Raises:
        MissingExtra: matplotlib is not installed.
        SinkError: The file cannot be written.
    """
    try:
        # Figure without pyplot: nothing global is set, and no window system is looked for.
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ImportError as error:
        raise MissingExtra(f"a roofline needs matplotlib ({error}); pip install 'pitviper[viz]'") from error
    shown = [point for point in points if point.cost.operations and point.ms > 0]
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.add_subplot()
    intensities = [point.cost.intensity for point in shown]
    ridge = gigaoperations_per_s / gigabytes_per_s
    low, high = min([*intensities, ridge]) / 2, max([*intensities, ridge]) * 4
    (roof,) = axes.loglog(
        [low, ridge, high],
        [low * gigabytes_per_s, gigaoperations_per_s, gigaoperations_per_s],
        color="black",
        label=f"{gigabytes_per_s:.4g} GB/s, {gigaoperations_per_s:.0f} Gop/s",
    )
    rates = [point.cost.operations / point.ms / 1e6 for point in shown]
    total = sum(point.ms for point in shown) or 1.0
    sizes = [20 + 600 * point.ms / total for point in shown]
    axes.scatter(intensities, rates, s=sizes, alpha=0.6)
    longest = sorted(zip(shown, rates, strict=True), key=lambda each: -each[0].ms)[:NUMBERED]
    numbered = []
    for number, (point, rate) in enumerate(longest, start=1):
        axes.annotate(str(number), (point.cost.intensity, rate), ha="center", va="center", fontsize=9)
        told = f"{point.name}, {100 * point.ms / total:.0f} %"
        numbered.append(Line2D([], [], linestyle="", color="black", marker=f"${number}$", label=told))
    axes.set(xlabel="operations a byte", ylabel="billion operations a second", title=title)
    axes.grid(True, which="both", alpha=0.2)
    axes.legend(handles=[roof, *numbered], loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
    try:
        figure.savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise SinkError(f"{path} cannot be written: {error}") from error
