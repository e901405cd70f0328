# SPDX-License-Identifier: Apache-2.0
"""SCRG and BSF: how much a filter raises targets above their background and flattens the background.

Measures of filter outputs; they say little about probability maps, whose background is all but constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pitviper.core.metrics.checks import check_mask
from pitviper.core.metrics.components import find_components

LOCAL_MARGIN = 20


@dataclass(frozen=True)
class Contrast:
    """One target before (``in``) and after (``out``) a filter: |mu_t - mu_b| and the population deviation sigma_b."""

    contrast_in: float
    contrast_out: float
    sigma_in: float
    sigma_out: float

    @property
    def scr_in(self) -> float:
        """Signal-to-clutter ratio before the filter; infinite over a constant background."""
        return _divide(self.contrast_in, self.sigma_in)

    @property
    def scr_out(self) -> float:
        """Signal-to-clutter ratio after the filter; infinite over a constant background."""
        return _divide(self.contrast_out, self.sigma_out)

    @property
    def scrg(self) -> float:
        """SCR gain, scr_out / scr_in; NaN where neither side is defined (0 / 0 or infinite / infinite)."""
        return _divide(self.scr_out, self.scr_in)

    @property
    def bsf(self) -> float:
        """Background suppression factor, sigma_in / sigma_out; infinite when the background became constant."""
        return _divide(self.sigma_in, self.sigma_out)


@dataclass(frozen=True)
class ContrastSummary:
    """One measure over all targets; nothing is dropped silently.

    ``mean`` and ``median`` are over the defined values, infinite ones included; NaN when there is none.
    ``infinite_share`` is the share of infinite values among them, ``undefined`` counts the rest.
    """

    mean: float
    median: float
    infinite_share: float
    undefined: int
    targets: int


def target_contrasts(
    before: ArrayLike, after: ArrayLike, truth: ArrayLike, *, margin: int | None = LOCAL_MARGIN
) -> list[Contrast]:
    """Contrast of each target (8-connected component) of one image before and after a filter.

    Args:
        before: Input of the filter [H, W], any real type.
        after: Its output [H, W].
        truth: bool [H, W].
        margin: The background of a target is its box grown by this many pixels on each side, without any target pixel;
            None takes all pixels of the image that belong to no target.

    Raises:
        TypeError: ``truth`` is not bool.
        ValueError: Shapes differ, a value is not finite, or a target has no background pixel.
    """
    mask = check_mask(truth, "truth")
    images = [_check_image(image, name, mask.shape) for image, name in ((before, "before"), (after, "after"))]
    components = find_components(mask)
    result = []
    for index in range(len(components)):
        pixels = components.pixels[components.labels == index]
        window = _window(pixels, mask.shape, margin)
        background = ~mask[window]
        if not background.any():
            raise ValueError(
                f"target {index} has no background pixel within margin={margin}; choose a larger margin"
            )
        means = [
            float(abs(image.reshape(-1)[pixels].mean() - image[window][background].mean()))
            for image in images
        ]
        sigmas = [float(image[window][background].std()) for image in images]
        result.append(Contrast(means[0], means[1], sigmas[0], sigmas[1]))
    return result


def summarise_contrasts(contrasts: Sequence[Contrast]) -> dict[str, ContrastSummary]:
    """``scrg`` and ``bsf`` over the targets of any number of images."""
    return {name: _summary([getattr(contrast, name) for contrast in contrasts]) for name in ("scrg", "bsf")}


def _summary(values: list[float]) -> ContrastSummary:
    array = np.array(values, np.float64)
    defined = array[~np.isnan(array)]
    undefined = len(array) - len(defined)
    if not len(defined):
        return ContrastSummary(np.nan, np.nan, np.nan, undefined, len(array))
    # An even number of values around the jump to infinity has the median infinity, not NaN.
    median = float(np.median(defined)) if np.isfinite(defined).all() else _median_with_infinity(defined)
    return ContrastSummary(
        float(defined.mean()), median, float(np.isinf(defined).mean()), undefined, len(array)
    )


def _median_with_infinity(values: NDArray[np.float64]) -> float:
    ordered = np.sort(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return float(high) if np.isinf(high) else float((low + high) / 2)


def _check_image(image: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(image, np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} {array.shape} and truth {shape} must have the same [H, W]")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite")
    return array


def _window(pixels: NDArray[np.int64], shape: tuple[int, ...], margin: int | None) -> tuple[slice, slice]:
    if margin is None:
        return slice(None), slice(None)
    y, x = np.divmod(pixels, shape[1])
    return (
        slice(max(0, int(y.min()) - margin), int(y.max()) + margin + 1),
        slice(max(0, int(x.min()) - margin), int(x.max()) + margin + 1),
    )


def _divide(part: float, whole: float) -> float:
    if whole == 0.0:
        return float("nan") if part == 0.0 else float("inf")
    if np.isinf(whole):
        return float("nan") if np.isinf(part) else 0.0
    return part / whole
