# SPDX-License-Identifier: Apache-2.0
"""Dead and flickering pixels, learned from the frames themselves."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.kernels.robust import robust_deviation
from pitviper.sdk.arguments import is_whole
from pitviper.sdk.errors import InputError

__all__ = ["PixelMap"]

CONTRAST: Final = 8.0
"""Deviations by which a pixel must differ from the mean of its four neighbours."""
SPILL: Final = 0.12
"""Most of that contrast that its neighbours may share. Optics spread a point: a Gaussian of 0.5 px gives them 0.23."""
DEAD: Final = 0.9
"""Share of the samples in which a dead (hot, cold) pixel stands out."""
FLICKERING: Final = 0.25
"""Share of the samples in which a flickering pixel stands out, at the least."""
EQUAL: Final = 0.4
"""Share of pixels that may repeat their value by chance; above it a value that never changes proves nothing."""


class PixelMap:
    """Learns which pixels are bad. Each frame costs one band of rows, so the cost stays small and even.

    A pixel is dead when it stands out from its neighbours without spilling into them in at least 90 % of its
    samples, or when it never changes its value while the others do; it flickers when it stands out in 25 to 90 % of
    them. The map needs ``samples * bands`` frames, 256 by default, and follows later changes within twice as many. A
    point source that keeps to one pixel for all that time, through optics sharper than half a pixel, looks the same
    as a dead pixel.

    Args:
        shape: (H, W) of the frames in pixels.
        samples: Times that each pixel is looked at before it is judged, 8 to 100.
        bands: Frames over which the rows are spread.

    Raises:
        InputError: ``samples`` or ``bands`` out of range.
    """

    def __init__(self, shape: tuple[int, int], *, samples: int = 32, bands: int = 8) -> None:
        if not (is_whole(samples) and 8 <= samples <= 100):
            raise InputError(f"samples must be 8 to 100 looks at each pixel, got {samples!r}")
        if not (is_whole(bands) and 1 <= bands <= shape[0]):
            raise InputError(f"bands must be 1 to the {shape[0]} rows of the frame, got {bands!r}")
        self.samples = samples
        self._edges = [index * shape[0] // bands for index in range(bands + 1)]
        self._looks = [0] * bands
        self._equal = [0.0] * bands
        self._seen = 0
        self._hits = np.zeros(shape, np.uint8)
        self._runs = np.zeros(shape, np.uint8)
        self._values: NDArray[Any] | None = None
        self._dead = np.zeros(shape, np.bool_)
        self._flickering = np.zeros(shape, np.bool_)

    @property
    def frames_needed(self) -> int:
        """Frames before every pixel was judged."""
        return self.samples * len(self._looks)

    @property
    def frames_seen(self) -> int:
        """Frames that were learned from."""
        return self._seen

    @property
    def dead(self) -> NDArray[np.bool_]:
        """bool [H, W], pixels that are hot, cold or stuck."""
        return self._dead

    @property
    def flickering(self) -> NDArray[np.bool_]:
        """bool [H, W], pixels that stand out now and then."""
        return self._flickering

    @property
    def bad(self) -> NDArray[np.bool_]:
        """bool [H, W], dead or flickering."""
        return self._dead | self._flickering

    def learn(self, pixels: NDArray[Any], *, clipped: bool = False) -> None:
        """Look at one band of a frame [H, W]; ``clipped`` says that values at its ends stand for many counts."""
        band = self._seen % len(self._looks)
        self._seen += 1
        if self._values is None:
            self._values = np.zeros_like(pixels)
        rows = slice(self._edges[band], self._edges[band + 1])
        first = self._looks[band] == 0
        self._count_outliers(pixels, rows)
        self._count_repeats(pixels, rows, band, first=first, clipped=clipped)
        self._looks[band] += 1
        if self._looks[band] >= self.samples:
            self._judge(rows, band)

    def _count_outliers(self, pixels: NDArray[Any], rows: slice) -> None:
        height = pixels.shape[0]
        # Two rows and columns around the band; borders are mirrored without their edge.
        around = np.abs(np.arange(rows.start - 2, rows.stop + 2))
        around = np.where(around >= height, 2 * (height - 1) - around, around)
        kind = np.float32 if pixels.dtype.kind == "f" else np.int32
        wide: NDArray[Any] = np.pad(pixels[around].astype(kind), ((0, 0), (2, 2)), mode="reflect")
        residual: NDArray[Any] = 4 * wide[2:-2, 2:-2]
        residual -= wide[1:-3, 2:-2]
        residual -= wide[3:-1, 2:-2]
        residual -= wide[2:-2, 1:-3]
        residual -= wide[2:-2, 3:-1]
        size = np.abs(residual)
        deviation = robust_deviation(size[::2, ::3], about=0.0) or 1.2533 * float(size.mean())
        if deviation == 0.0:
            return
        row, column = np.nonzero(size > CONTRAST * deviation)
        if row.size == 0:
            return
        y, x = row + 2, column + 2
        near = np.sort(np.stack([wide[y - 1, x], wide[y + 1, x], wide[y, x - 1], wide[y, x + 1]]), axis=0)
        # The middle two: another bad pixel beside this one does not hide it.
        beside = (near[1] + near[2]) / 2.0
        steps = ((-2, 0), (2, 0), (0, -2), (0, 2), (-2, -2), (-2, 2), (2, -2), (2, 2))
        ring = np.median(np.stack([wide[y + dy, x + dx] for dy, dx in steps]), axis=0)
        contrast = np.abs(wide[y, x] - ring)
        # Neighbours of a bad pixel differ from their own neighbours too, but not from what lies around.
        sharp = (np.abs(beside - ring) <= SPILL * contrast) & (4 * contrast > CONTRAST * deviation)
        self._hits[row[sharp] + rows.start, column[sharp]] += 1

    def _count_repeats(
        self, pixels: NDArray[Any], rows: slice, band: int, *, first: bool, clipped: bool
    ) -> None:
        assert self._values is not None
        same = pixels[rows] == self._values[rows]
        self._values[rows] = pixels[rows]
        if first:
            return
        self._equal[band] += 0.1 * (float(same.mean()) - self._equal[band])
        if clipped:
            same &= (pixels[rows] != pixels.max()) & (pixels[rows] != pixels.min())
        runs = self._runs[rows]
        runs += 1
        runs *= same
        np.minimum(runs, 200, out=runs)

    def _judge(self, rows: slice, band: int) -> None:
        looks, hits = self._looks[band], self._hits[rows]
        stuck = self._runs[rows] >= self.samples - 1
        if self._equal[band] > EQUAL:
            stuck[:] = False
        self._dead[rows] = (hits >= DEAD * looks) | stuck
        self._flickering[rows] = (hits >= FLICKERING * looks) & ~self._dead[rows]
        if looks >= 2 * self.samples:
            # Half of the past is forgotten, so that a repaired or a new bad pixel shows.
            self._looks[band] = looks // 2
            hits //= 2
