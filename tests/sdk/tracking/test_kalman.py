# SPDX-License-Identifier: Apache-2.0
"""The filter against a textbook recursion written out by hand, and against itself at other steps."""

from __future__ import annotations

import numpy as np
import pytest

from pitviper.sdk.errors import InputError
from pitviper.sdk.tracking import MotionModel, kalman

MODEL = MotionModel(noise_px=0.4, agility_px_s=25.0, speed_px_s=50.0)
# Sums of some ten products of numbers up to 1e4 in float64.
EXACT = {"rtol": 1e-10, "atol": 1e-9}


def by_hand(points: list[float], times: list[float]) -> tuple[list[float], list[list[float]]]:
    """Position and velocity on one axis, from the equations with scalars."""
    x, v = points[0], 0.0
    a, b, c = MODEL.noise_px**2, 0.0, MODEL.speed_px_s**2
    q = MODEL.agility_px_s**2
    for point, t0, t1 in zip(points[1:], times, times[1:], strict=False):
        d = t1 - t0
        x, a, b, c = x + v * d, a + 2 * b * d + c * d * d + q * d**3 / 3, b + c * d + q * d * d / 2, c + q * d
        s = a + MODEL.noise_px**2
        x, v, k, m = x + a / s * (point - x), v + b / s * (point - x), a / s, b / s
        a, b, c = (1 - k) * a, (1 - k) * b, c - m * b
    return [x, v], [[a, b], [b, c]]


def test_equals_the_equations_written_out() -> None:
    times = [0.0, 0.04, 0.08, 0.2, 0.21, 0.5]
    xs, ys = [10.0, 10.7, 11.1, 14.0, 14.1, 20.0], [50.0, 49.0, 48.3, 44.0, 43.9, 33.0]
    mean, covariance = kalman.start(np.array([[xs[0], ys[0]]]), MODEL)
    for x, y, t0, t1 in zip(xs[1:], ys[1:], times, times[1:], strict=False):
        mean, covariance = kalman.predict(mean, covariance, t1 - t0, MODEL)
        mean, covariance = kalman.correct(mean, covariance, np.array([[x, y]]), MODEL)
    for axis, points in enumerate((xs, ys)):
        state, spread = by_hand(points, times)
        np.testing.assert_allclose(mean[0, axis::2], state, **EXACT)
        np.testing.assert_allclose(covariance[0, axis::2, axis::2], spread, **EXACT)
    np.testing.assert_allclose(covariance[0, ::2, 1::2], 0, atol=1e-9)


def test_one_long_step_equals_many_short_ones() -> None:
    mean, covariance = kalman.start(np.array([[3.0, 4.0], [30.0, 40.0]]), MODEL)
    mean[:, 2:] = [[5.0, -7.0], [0.0, 60.0]]
    long = kalman.predict(mean, covariance, 0.7, MODEL)
    for _ in range(7):
        mean, covariance = kalman.predict(mean, covariance, 0.1, MODEL)
    np.testing.assert_allclose(mean, long[0], **EXACT)
    np.testing.assert_allclose(covariance, long[1], **EXACT)


def test_filter_is_consistent() -> None:
    """Errors of simulated targets are as large as the covariance says (NEES of 4 states, BLK section 5.4)."""
    rng, runs, step = np.random.default_rng(0), 4000, 0.04
    truth = np.zeros((runs, 4))
    truth[:, 2:] = rng.normal(0, MODEL.speed_px_s, (runs, 2))
    blocks = np.array([[step**3 / 3, step**2 / 2], [step**2 / 2, step]]) * MODEL.agility_px_s**2
    kicks = np.linalg.cholesky(np.kron(blocks, np.eye(2)))
    mean, covariance = kalman.start(rng.normal(0, MODEL.noise_px, (runs, 2)), MODEL)
    for _ in range(25):
        truth[:, :2] += step * truth[:, 2:]
        truth += rng.normal(size=(runs, 4)) @ kicks.T
        seen = truth[:, :2] + rng.normal(0, MODEL.noise_px, (runs, 2))
        mean, covariance = kalman.correct(*kalman.predict(mean, covariance, step, MODEL), seen, MODEL)
    error = mean - truth
    nees = np.einsum("ni,nij,nj->n", error, np.linalg.inv(covariance), error)
    # Mean of chi-square with 4 degrees of freedom over 4000 runs: deviation sqrt(8 / 4000) = 0.045; five of them.
    assert abs(nees.mean() - 4) < 0.23


def test_warp_carries_points_and_velocities() -> None:
    turn = np.array([[0.0, -1.0, 100.0], [1.0, 0.0, 5.0]])
    mean, covariance = kalman.start(np.array([[10.0, 20.0]]), MODEL)
    mean[0, 2:] = [3.0, 4.0]
    covariance = kalman.predict(mean, covariance, 0.1, MODEL)[1]
    moved, spread = kalman.warp(mean, covariance, turn)
    assert moved[0].tolist() == [80.0, 15.0, -4.0, 3.0]
    # Equal on both axes, so that a quarter turn leaves it as it is.
    np.testing.assert_allclose(spread, covariance, **EXACT)


@pytest.mark.parametrize(
    "values",
    [{"noise_px": 0.0}, {"agility_px_s": -1.0}, {"speed_px_s": float("nan")}, {"noise_px": float("inf")}],
)
def test_model_refuses_what_cannot_be(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        MotionModel(**values)


@pytest.mark.parametrize(
    "motion", [np.eye(3), [[1, 0, np.nan], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]], "identity", [[1, 2], [3, 4]]]
)
def test_motion_refuses_what_is_none(motion: object) -> None:
    with pytest.raises(InputError, match="motion"):
        kalman.checked_affine(motion)
