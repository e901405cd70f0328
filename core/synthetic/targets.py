# SPDX-License-Identifier: Apache-2.0
"""Targets of a synthetic scene: shape, path, and the light that each leaves on the sensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import scipy.special
from numpy.typing import NDArray

from pitviper.core.synthetic.config import SceneConfig

_EIGHT = np.ones((3, 3), dtype=bool)
_HALF_WIDTH = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum over sigma of a Gaussian


@dataclass(frozen=True)
class Footprint:
    """Light of one target on the sensor: counts float32 [h, w] and its exact mask bool [h, w], at (top, left).

    The patch may reach over the frame's border. Mask: pixels whose contribution is above half of the target's
    largest pixel contribution and 8-connected to that pixel, and always the pixel that holds the centroid.
    """

    counts: NDArray[np.float32]
    mask: NDArray[np.bool_]
    top: int
    left: int


@dataclass(frozen=True)
class Target:
    """One target: a rigid sum of Gaussian spots on a path.

    `spots` float64 [K, 4]: dx, dy in pixels from the centroid, sigma in pixels (optics included), flux in counts.
    `start`, `velocity`, `box`: (x, y) pixels, pixels per frame, and the low and high corner between which the
    straight path is folded. `weave`: amplitude in pixels, cycles per frame and phase, for each of x and y.
    """

    kind: str
    spots: NDArray[np.float64]
    start: tuple[float, float]
    velocity: tuple[float, float]
    box: tuple[tuple[float, float], tuple[float, float]]
    weave: tuple[tuple[float, float, float], tuple[float, float, float]]
    flicker: tuple[float, float, float]

    def position(self, index: int) -> tuple[float, float]:
        """Centroid (x, y) at a frame, half-pixel convention, before the platform's shift."""
        place = []
        for axis in (0, 1):
            low, high = self.box[0][axis], self.box[1][axis]
            amplitude, rate, phase = self.weave[axis]
            straight = _fold(self.start[axis] + self.velocity[axis] * index, low, high)
            place.append(straight + amplitude * math.sin(2 * math.pi * rate * index + phase))
        return place[0], place[1]

    def brightness(self, index: int) -> float:
        """Slow change of the emission with aspect, around 1."""
        amplitude, rate, phase = self.flicker
        return 1.0 + amplitude * math.sin(2 * math.pi * rate * index + phase)

    def footprint(self, x: float, y: float, brightness: float) -> Footprint:
        """The light at a centroid (x, y): each spot integrated exactly over the area of each pixel."""
        return _integrate(self.spots, x, y, brightness)


def make_target(config: SceneConfig, rng: np.random.Generator, horizon: float, deviation: float) -> Target:
    """Draw one target that fits the scene. `deviation` is the scene's typical local deviation in counts."""
    kinds = config.kinds or {"sea": ("ship", "ship", "drone"), "terrain": ("drone", "aircraft")}.get(
        config.clutter, ("drone", "aircraft")
    )
    kind = str(kinds[int(rng.integers(len(kinds)))])
    low, high = config.size_px
    area = math.exp(rng.uniform(math.log(low), math.log(high)))
    speed, heading = float(rng.uniform(*config.speed_px)), float(rng.uniform(0, 2 * math.pi))
    reach = 2.0 * math.sqrt(area) + 4.0
    corner_low, corner_high = (-reach, -reach), (config.width + reach, config.height + reach)
    sway = float(rng.uniform(0.5, 3.0))
    if kind == "ship":
        # Ships stay below the horizon and on an even keel.
        speed, heading, sway = speed / 10, float(rng.choice([0.0, math.pi])) + float(rng.normal(0, 0.05)), 0.3
        horizon = min(horizon, 0.8 * config.height)
        corner_low = (-reach, horizon + 2.0)
        corner_high = (config.width + reach, horizon + 2.0 + 0.6 * (config.height - horizon))
    spots = _shape(rng, kind, area, heading, config.psf_sigma_px)
    centred = _integrate(spots, 0.5, 0.5, 1.0)
    peak = float(rng.uniform(*config.snr)) * deviation
    spots[:, 3] *= peak / float(centred.counts.max())
    start_y = (max(corner_low[1], 0.05 * config.height), min(corner_high[1], 0.95 * config.height))
    return Target(
        kind=kind,
        spots=spots,
        start=(float(rng.uniform(0.05, 0.95) * config.width), float(rng.uniform(*start_y))),
        velocity=(speed * math.cos(heading), speed * math.sin(heading)),
        box=(corner_low, corner_high),
        weave=(
            (sway, float(rng.uniform(0.003, 0.02)), float(rng.uniform(0, 2 * math.pi))),
            (sway, float(rng.uniform(0.003, 0.02)), float(rng.uniform(0, 2 * math.pi))),
        ),
        flicker=(0.12, float(rng.uniform(0.005, 0.05)), float(rng.uniform(0, 2 * math.pi))),
    )


def _fold(value: float, low: float, high: float) -> float:
    """Reflect a straight path at both ends of [low, high], so that every frame index has a place."""
    span = high - low
    phase = (value - low) % (2 * span)
    return low + (phase if phase <= span else 2 * span - phase)


def _shape(
    rng: np.random.Generator, kind: str, area: float, heading: float, psf: float
) -> NDArray[np.float64]:
    """Spots of a shape whose area above half peak is about `area` pixels (never under the optics' own)."""
    aspect = {
        "drone": rng.uniform(1.0, 1.5),
        "aircraft": rng.uniform(1.8, 3.2),
        "ship": rng.uniform(2.2, 4.0),
    }[kind]
    bridge = float(rng.uniform(-0.15, 0.15))
    scale = 1.0
    for _ in range(4):
        spots = _assemble(kind, aspect, area * scale, heading, psf, bridge)
        # Spots overlap and the peak is not the plateau, so the covered area is found by trying.
        scale *= min(2.0, max(0.5, area / float(_integrate(spots, 0.5, 0.5, 1.0).mask.sum())))
        scale = min(max(scale, 0.2), 5.0)
    return spots


def _assemble(
    kind: str, aspect: float, area: float, heading: float, psf: float, bridge: float
) -> NDArray[np.float64]:
    wide = math.sqrt(area / aspect)
    long = aspect * wide
    sigma = max(wide / _HALF_WIDTH, psf)
    body = _chain(long, sigma, heading)
    if kind == "aircraft" and area > 20:
        wing = _chain(0.8 * long, 0.7 * sigma + 0.3 * psf, heading + math.pi / 2)
        wing[:, 3] *= 0.45
        body = np.concatenate([body, wing])
    elif kind == "ship" and area > 9:
        spread = 0.8 * sigma + 0.2 * psf
        mast = np.array([[bridge * long, -0.7 * sigma, spread, 0.5 * 2 * math.pi * spread**2]])
        body = np.concatenate([body, mast])
    elif kind == "drone" and area > 25:
        arms = _chain(0.9 * long, 0.6 * sigma + 0.4 * psf, heading + math.pi / 2)
        arms[:, 3] *= 0.35
        body = np.concatenate([body, arms])
    body[:, :2] -= (body[:, :2] * body[:, 3:]).sum(axis=0) / body[:, 3].sum()
    return body


def _chain(length: float, sigma: float, angle: float) -> NDArray[np.float64]:
    """A bar as Gaussian spots at most one sigma apart: even along the bar, Gaussian across it, plateau about 1."""
    reach = max(0.0, (length - _HALF_WIDTH * sigma) / 2)
    count = 1 + 2 * math.ceil(reach / sigma)
    steps = np.linspace(-reach, reach, count)
    spacing = 2 * reach / (count - 1) if count > 1 else 0.0
    # The sum of spots `spacing` apart has the plateau sqrt(2 pi) sigma / spacing: divide it out.
    level = min(1.0, spacing / (math.sqrt(2 * math.pi) * sigma)) if count > 1 else 1.0
    spots = np.empty((count, 4))
    spots[:, 0], spots[:, 1] = steps * math.cos(angle), steps * math.sin(angle)
    spots[:, 2], spots[:, 3] = sigma, level * 2 * math.pi * sigma * sigma
    return spots


def _integrate(spots: NDArray[np.float64], x: float, y: float, brightness: float) -> Footprint:
    reach = math.ceil(float((np.abs(spots[:, :2]).max(axis=1) + 4.5 * spots[:, 2]).max()))
    left, top = math.floor(x) - reach, math.floor(y) - reach
    edges = np.arange(2 * reach + 2)
    scale = spots[:, 2:3] * math.sqrt(2)
    in_x = scipy.special.erf((left + edges[None, :] - x - spots[:, 0:1]) / scale)
    in_y = scipy.special.erf((top + edges[None, :] - y - spots[:, 1:2]) / scale)
    share_x, share_y = np.diff(in_x) / 2, np.diff(in_y) / 2
    counts = (share_y * (brightness * spots[:, 3:4])).T @ share_x
    bright = counts > 0.5 * counts.max()
    labels, found = scipy.ndimage.label(bright, _EIGHT)
    mask = bright if found == 1 else labels == labels.flat[int(counts.argmax())]
    mask[reach, reach] = True
    return Footprint(counts.astype(np.float32), np.asarray(mask, dtype=np.bool_), top, left)
