# SPDX-License-Identifier: Apache-2.0
"""`Targets`: what was found in one probability map, as a struct of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Targets:
    """N targets in raster order of their first pixel.

    Coordinates are in pixels of the map, x to the right and y down; the centre of pixel (row r, column c) is
    (x, y) = (c + 0.5, r + 0.5).

    Attributes:
        xy: float64 [N, 2], centroid (x, y) of the component weighted by probability.
        xyxy: float32 [N, 4], box (left, top, right, bottom), half open: right and bottom lie outside.
        area: int32 [N], pixels of the component.
        peak: float32 [N], highest probability in it.
        mean: float32 [N], mean probability over it.
        snr: float32 [N], contrast to its surroundings in the raw frame in noise deviations, negative for a
            target that is darker; NaN when no frame was given or fewer than 8 pixels surround it.
        truncated: more components were found than kept.
        total: components found.
    """

    xy: npt.NDArray[np.float64]
    xyxy: npt.NDArray[np.float32]
    area: npt.NDArray[np.int32]
    peak: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    snr: npt.NDArray[np.float32]
    truncated: bool
    total: int

    def __post_init__(self) -> None:
        count = len(self.area)
        expected = {"xy": (count, 2), "xyxy": (count, 4), "area": (count,)}
        expected.update({name: (count,) for name in ("peak", "mean", "snr")})
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(
                    f"Targets.{name} must have shape {shape} like its {count} areas, got {found}"
                )

    def __len__(self) -> int:
        return len(self.area)
