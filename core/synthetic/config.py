# SPDX-License-Identifier: Apache-2.0
"""What a synthetic infrared scene holds, as one frozen value."""

from __future__ import annotations

import math
from dataclasses import dataclass

CLUTTERS = ("sky", "cloud", "sea", "terrain")
KINDS = ("drone", "aircraft", "ship")


@dataclass(frozen=True)
class SceneConfig:
    """One seeded infrared sequence. Equal configs give bit-equal frames on the same numpy and scipy.

    Counts are raw sensor counts. `frames=None` is an endless sequence.

    - `clutter`: "sky", "cloud", "sea" or "terrain".
    - `targets`: how many targets live in the scene; they leave the frame and come back, so a frame may show fewer.
    - `kinds`: shapes to draw from; empty means what fits the clutter.
    - `size_px`: range of the area above half of the peak, drawn log-uniformly. The optics set the lower bound:
      nothing is smaller than the point-spread function.
    - `snr`: range of the nominal peak over the scene's typical local deviation (noise, fixed pattern and texture).
    - `speed_px`: range of the speed in pixels per frame. Ships take a tenth of it.
    - `psf_sigma_px`: Gaussian point-spread function, before the integration over the pixel area.
    - `contrast`: factor on the temperature differences of the background.
    - `noise_counts`, `row_noise_counts`: temporal deviation per pixel and per row.
    - `column_counts`, `row_counts`, `pixel_counts`: fixed-pattern deviation per column, row and pixel.
    - `bad_pixels`: stuck pixels, bright in every frame and part of no target.
    - `vignetting`: relative loss in the corners. `drift_px`: bound of the platform's wander on each axis.
    """

    width: int = 320
    height: int = 256
    frames: int | None = 300
    seed: int = 0
    clutter: str = "cloud"
    fps: float = 30.0
    targets: int = 3
    kinds: tuple[str, ...] = ()
    size_px: tuple[float, float] = (1.0, 60.0)
    snr: tuple[float, float] = (7.0, 25.0)
    speed_px: tuple[float, float] = (0.2, 1.5)
    psf_sigma_px: float = 0.65
    contrast: float = 1.0
    noise_counts: float = 5.0
    row_noise_counts: float = 0.8
    column_counts: float = 2.0
    row_counts: float = 1.0
    pixel_counts: float = 2.0
    bad_pixels: int = 0
    vignetting: float = 0.01
    drift_px: float = 5.0
    bits: int = 14

    def __post_init__(self) -> None:
        """Raise ValueError, naming the field, for a scene that cannot be made."""
        self._check_whole()
        for name in ("size_px", "snr", "speed_px"):
            low, high = getattr(self, name)
            floor = 0.0 if name == "speed_px" else 1e-6
            if not floor <= low <= high < 1e4:
                raise ValueError(
                    f"{name} must be (low, high) with {floor:g} <= low <= high, got {(low, high)}"
                )
        for name in ("psf_sigma_px", "fps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in (
            "contrast",
            "noise_counts",
            "row_noise_counts",
            "column_counts",
            "row_counts",
            "pixel_counts",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.drift_px <= 64:
            raise ValueError(f"drift_px must be between 0 and 64, got {self.drift_px}")
        if not 0 <= self.vignetting < 1:
            raise ValueError(f"vignetting must be at least 0 and below 1, got {self.vignetting}")
        if self.clutter not in CLUTTERS:
            raise ValueError(f"clutter must be one of {', '.join(CLUTTERS)}, got {self.clutter!r}")
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"kinds may hold {', '.join(KINDS)}, got {unknown[0]!r}")

    def _check_whole(self) -> None:
        bounds = {
            "width": (32, 8192),
            "height": (32, 8192),
            "seed": (0, 2**63),
            "targets": (0, 1000),
            "bad_pixels": (0, 10_000),
            "bits": (10, 16),
        }
        if self.frames is not None:
            bounds["frames"] = (1, 2**40)
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high}, got {value!r}")
