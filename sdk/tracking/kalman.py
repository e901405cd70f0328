# SPDX-License-Identifier: Apache-2.0
"""Constant-velocity Kalman filters for many points at once, with the real time between frames.

Y. Bar-Shalom, X. R. Li, T. Kirubarajan, *Estimation with Applications to Tracking and Navigation*, Wiley 2001
("BLK" below). A state is (x, y, vx, vy) in pixels and pixels per second.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.arguments import require_number
from pitviper.sdk.errors import InputError

__all__ = [
    "Array",
    "MotionModel",
    "chained",
    "checked_affine",
    "correct",
    "innovation",
    "nothing",
    "predict",
    "start",
    "warp",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MotionModel:
    """How targets move and how well they are measured, per axis.

    The defaults are for hand-size drones to ships seen by a camera that stands still or turns slowly, at about
    640 x 512 pixels: they let a target that is found for the first time be four pixels away in the next frame at
    25 frames per second (one sigma: 2.4), and follow turns within a second.

    Attributes:
        noise_px: Deviation of a measured centroid. 0.5 px is more than the error of the centroid itself; it also
            covers a shaking camera and a target that changes its shape.
        agility_px_s: Deviation of the velocity's change within one second, in px/s. Its square is the power
            spectral density of the white noise acceleration, BLK section 6.2.2.
        speed_px_s: Deviation of the velocity of a new track in px/s (one-point initiation, BLK section 5.5.3).

    Raises:
        InputError: A value that is not above 0.
    """

    noise_px: float = 0.5
    agility_px_s: float = 30.0
    speed_px_s: float = 60.0

    def __post_init__(self) -> None:
        for item in fields(self):
            require_number(item.name, getattr(self, item.name), above=0)


def nothing() -> tuple[Array, Array]:
    """Mean [0, 4] and covariance [0, 4, 4] of no track."""
    return np.empty((0, 4)), np.empty((0, 4, 4))


def start(xy: Array, model: MotionModel) -> tuple[Array, Array]:
    """Mean [N, 4] and covariance [N, 4, 4] of tracks that begin at the points xy [N, 2]."""
    mean = np.concatenate([xy, np.zeros_like(xy)], axis=1)
    variance = np.repeat([model.noise_px**2, model.speed_px_s**2], 2)
    return mean, np.broadcast_to(np.diag(variance), (len(xy), 4, 4)).copy()


def predict(mean: Array, covariance: Array, seconds: float, model: MotionModel) -> tuple[Array, Array]:
    """States after a time without measurements.

    Continuous white noise acceleration, BLK equation 6.2.2-12: one step of 2 s equals two steps of 1 s, so a dropped
    frame costs nothing but its measurement.
    """
    step = np.eye(4)
    step[0, 2] = step[1, 3] = seconds
    blocks = np.array([[seconds**3 / 3, seconds**2 / 2], [seconds**2 / 2, seconds]])
    noise = model.agility_px_s**2 * np.kron(blocks, np.eye(2))
    return mean @ step.T, step @ covariance @ step.T + noise


def warp(mean: Array, covariance: Array, affine: Array) -> tuple[Array, Array]:
    """States carried along by a motion of the whole picture, ``p -> affine[:, :2] @ p + affine[:, 2]``."""
    turn = np.kron(np.eye(2), affine[:, :2])
    moved = mean @ turn.T
    moved[:, :2] += affine[:, 2]
    return moved, turn @ covariance @ turn.T


def chained(later: Array, earlier: Array | None) -> Array:
    """Both motions of the picture in one, [2, 3]."""
    if earlier is None:
        return later
    turn = later[:, :2]
    return np.column_stack([turn @ earlier[:, :2], turn @ earlier[:, 2] + later[:, 2]])


def innovation(covariance: Array, model: MotionModel) -> Array:
    """Covariance [N, 2, 2] of the difference between a measured and a predicted point."""
    return np.asarray(covariance[:, :2, :2] + model.noise_px**2 * np.eye(2))


def correct(mean: Array, covariance: Array, xy: Array, model: MotionModel) -> tuple[Array, Array]:
    """States after the measurements xy [N, 2], in Joseph's form (BLK equation 5.2.3-18), which stays symmetric."""
    gain = np.linalg.solve(innovation(covariance, model), covariance[:, :2, :]).transpose(0, 2, 1)
    kept = np.broadcast_to(np.eye(4), covariance.shape).copy()
    kept[:, :, :2] -= gain
    noise = model.noise_px**2 * gain @ gain.transpose(0, 2, 1)
    moved = mean + (gain @ (xy - mean[:, :2])[:, :, None])[:, :, 0]
    return moved, kept @ covariance @ kept.transpose(0, 2, 1) + noise


def checked_affine(motion: object) -> Array:
    """A motion of the picture as float64 [2, 3].

    Raises:
        InputError: Not 2 x 3 finite numbers, or a motion that flattens the picture.
    """
    try:
        affine = np.asarray(motion, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"motion must be 2x3 numbers, got {type(motion).__name__}: {error}") from error
    if affine.shape != (2, 3) or not np.isfinite(affine).all():
        raise InputError(
            f"motion must be 2x3 finite numbers that carry points (x, y, 1) of the frame before into this one, "
            f"got shape {list(affine.shape)}: {affine.tolist()}"
        )
    if abs(np.linalg.det(affine[:, :2])) < 1e-6:
        raise InputError(f"motion flattens the picture: {affine.tolist()}; identity is [[1,0,0],[0,1,0]]")
    return affine
