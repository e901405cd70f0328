# SPDX-License-Identifier: Apache-2.0
"""What `extract_targets` returns, checked by hand on each backend, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pitviper.kernels import Targets, extract_targets
from pitviper.kernels.registry import BackendName

every_backend = pytest.mark.parametrize("backend", ["host", "numpy"])
PLANTED = {1: (2, 3, 1, 1), 2: (5, 30, 1, 2), 9: (20, 70, 3, 3), 80: (30, 10, 8, 10)}


def planted() -> npt.NDArray[np.float32]:
    """Targets of 1, 2, 9 and 80 pixels, at (row, column, height, width) of `PLANTED`."""
    probability = np.full((48, 100), 0.1, np.float32)
    for row, column, height, width in PLANTED.values():
        probability[row : row + height, column : column + width] = 0.75
    return probability


@every_backend
def test_planted_targets(backend: BackendName) -> None:
    targets = extract_targets(planted(), backend=backend)
    assert targets.area.tolist() == list(PLANTED)
    assert targets.xyxy.tolist() == [[c, r, c + w, r + h] for r, c, h, w in PLANTED.values()]
    assert targets.xy.tolist() == [[c + w / 2, r + h / 2] for r, c, h, w in PLANTED.values()]
    assert targets.peak.tolist() == targets.mean.tolist() == [0.75] * 4
    assert np.isnan(targets.snr).all()
    assert (len(targets), targets.total, targets.truncated) == (4, 4, False)
    dtypes = {
        name: getattr(targets, name).dtype.name for name in ("xy", "xyxy", "area", "peak", "mean", "snr")
    }
    assert dtypes.pop("xy") == "float64"
    assert dtypes.pop("area") == "int32"
    assert set(dtypes.values()) == {"float32"}


@every_backend
def test_centroid_is_weighted_and_statistics_are_of_the_component(backend: BackendName) -> None:
    probability = np.zeros((6, 9), np.float32)
    probability[1, 2:4] = 0.6, 0.9
    probability[2, 4] = 0.75
    targets = extract_targets(probability, backend=backend)
    weights = probability[probability > 0.5].astype(np.float64)
    x, y = np.array([2.5, 3.5, 4.5]), np.array([1.5, 1.5, 2.5])
    assert np.allclose(targets.xy, [[weights @ x / weights.sum(), weights @ y / weights.sum()]], rtol=1e-14)
    assert targets.xyxy.tolist() == [[2, 1, 5, 3]]
    assert targets.peak.tolist() == [np.float32(0.9)]
    assert targets.mean.tolist() == [np.float32(weights.mean())]


@every_backend
def test_order_is_that_of_first_pixels(backend: BackendName) -> None:
    probability = np.zeros((7, 12), np.float32)
    probability[4, 0:7] = probability[1:5, 6] = 0.9
    probability[0, 9] = probability[2, 2] = probability[1, 0] = 0.9
    targets = extract_targets(probability, backend=backend)
    assert targets.xyxy[:, :2].tolist() == [[9, 0], [0, 1], [0, 1], [2, 2]]
    assert targets.area.tolist() == [1, 1, 10, 1]


@every_backend
def test_threshold_is_strict_and_compared_in_float64(backend: BackendName) -> None:
    probability = np.full((3, 3), 0.3, np.float32)
    assert len(extract_targets(probability, threshold=0.3, backend=backend)) == 1
    assert len(extract_targets(probability, threshold=float(np.float32(0.3)), backend=backend)) == 0
    assert len(extract_targets(np.full((3, 3), 0.7, np.float32), threshold=0.7, backend=backend)) == 0
    ends = np.array([[0, 1e-45, 0, 1, 0, np.nextafter(np.float32(1), 2)]], np.float32)
    assert len(extract_targets(ends, threshold=0.0, backend=backend)) == 3
    assert len(extract_targets(ends, threshold=1.0, backend=backend)) == 1


@every_backend
def test_truncation_keeps_the_highest_in_raster_order(backend: BackendName) -> None:
    probability = np.zeros((2, 20), np.float32)
    probability[0, 0::4] = 0.6, 0.9, 0.7, 0.9, 0.8
    probability[0, 5] = 0.8
    targets = extract_targets(probability, max_targets=3, backend=backend)
    assert targets.xyxy[:, 0].tolist() == [4, 12, 16]
    assert (targets.truncated, targets.total, len(targets)) == (True, 5, 3)
    assert extract_targets(probability, max_targets=1, backend=backend).xyxy[:, 0].tolist() == [12]
    whole = extract_targets(probability, max_targets=5, backend=backend)
    assert (whole.truncated, len(whole)) == (False, 5)
    assert len(extract_targets(probability, max_targets=10**30, backend=backend)) == 5


@every_backend
def test_equal_targets_are_kept_in_raster_order(backend: BackendName) -> None:
    probability = np.zeros((9, 9), np.float32)
    probability[::2, ::2] = 0.9
    targets = extract_targets(probability, max_targets=7, backend=backend)
    assert targets.xyxy[:, :2].tolist() == [[0, 0], [2, 0], [4, 0], [6, 0], [8, 0], [0, 2], [2, 2]]


@every_backend
def test_targets_at_the_border(backend: BackendName) -> None:
    probability = np.zeros((5, 70), np.float32)
    probability[0, 0] = probability[4, 0] = probability[0, 69] = probability[3:, 68:] = 0.9
    targets = extract_targets(probability, np.ones((5, 70), np.uint8), backend=backend)
    assert targets.xyxy.tolist() == [[0, 0, 1, 1], [69, 0, 70, 1], [68, 3, 70, 5], [0, 4, 1, 5]]
    assert targets.snr.tolist() == [0, 0, 0, 0]


@every_backend
def test_nothing_and_everything(backend: BackendName) -> None:
    frame = np.arange(70, dtype=np.uint16).reshape(7, 10)
    nothing = extract_targets(np.zeros((7, 10), np.float32), frame, backend=backend)
    assert (len(nothing), nothing.total, nothing.xy.shape, nothing.xyxy.shape) == (0, 0, (0, 2), (0, 4))
    everything = extract_targets(np.ones((7, 10), np.float32), frame, backend=backend)
    assert everything.xy.tolist() == [[5.0, 3.5]]
    assert everything.area.tolist() == [70]
    assert np.isnan(everything.snr).all(), "no pixel is left for a ring"


def around(ring: npt.NDArray[Any], target: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Map and frame with one target pixel, the given ring values cyclically around it and junk elsewhere."""
    probability = np.zeros((25, 25), np.float32)
    probability[12, 12] = 0.9
    distance = np.maximum(*np.abs(np.indices((25, 25)) - 12))
    frame = np.where(distance < 3, 1e6, -1e6).astype(np.float32)
    inside = (distance > 2) & (distance <= 8)
    frame[inside] = np.resize(ring, int(inside.sum()))
    frame[12, 12] = target
    return probability, frame


@every_backend
@pytest.mark.parametrize(
    ("ring", "target", "expected"),
    [
        ([8, 9, 10, 10, 11, 12, 10, 10], 30, 20 / (1.4826 * 0.5)),
        ([8, 12], 30, 20 / (1.4826 * 2)),
        ([8, 12], -5, -15 / (1.4826 * 2)),
        ([10, 10, 10, 18], 30, 20 / 4),
        ([10], 30, np.inf),
        ([10], 3, -np.inf),
        ([10], 10, 0),
        ([0.1], np.float32(0.1), 0),
    ],
)
def test_contrast(backend: BackendName, ring: list[float], target: float, expected: float) -> None:
    """The ring has 264 pixels (17 x 17 less 5 x 5); nothing nearer or farther counts."""
    targets = extract_targets(*around(np.array(ring), target), backend=backend)
    assert targets.snr.tolist() == [pytest.approx(expected, rel=1e-6)]


@every_backend
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_contrast_leaves_other_targets_out(backend: BackendName, dtype: Any) -> None:
    probability, frame = around(np.array([8, 12]), 40)
    frame = np.clip(frame, 0, 200).astype(dtype)
    alone = extract_targets(probability, frame, backend=backend).snr
    frame[4:10, 4:21] = 150
    crowded = probability.copy()
    crowded[4:10, 4:21] = 0.9
    assert extract_targets(crowded, frame, backend=backend, max_targets=2).snr[1] == alone[0]
    assert extract_targets(probability, frame, backend=backend).snr[0] < alone[0]


@every_backend
def test_contrast_takes_the_extreme_pixel_of_the_component(backend: BackendName) -> None:
    probability, frame = around(np.array([8, 12]), 20)
    probability[12, 11:14] = 0.8
    frame[12, 11:14] = -30, 20, 25
    distance_to_box = np.maximum(
        np.abs(np.indices((25, 25))[0] - 12), np.abs(np.indices((25, 25))[1] - 12) - 1
    )
    ring = (distance_to_box > 2) & (distance_to_box <= 8)
    frame[ring] = np.resize([8.0, 12.0], int(ring.sum()))
    targets = extract_targets(probability, frame, backend=backend)
    assert targets.snr.tolist() == [pytest.approx(-40 / (1.4826 * 2), rel=1e-6)]


@every_backend
def test_contrast_needs_eight_pixels(backend: BackendName) -> None:
    probability = np.ones((4, 9), np.float32)
    probability[:, 5:] = 0
    frame = np.zeros((4, 9), np.uint16)
    assert extract_targets(probability, frame, backend=backend).snr.tolist() == [0], (
        "two columns of four are left"
    )
    assert np.isnan(extract_targets(probability[:3], frame[:3], backend=backend).snr).all()


@every_backend
def test_views_of_padded_maps(backend: BackendName) -> None:
    padded = np.ones((64, 128), np.float32)
    padded[:48, :100] = planted()
    frame = np.random.default_rng(0).integers(0, 9999, (48, 100), np.uint16)
    expected = extract_targets(planted(), frame, backend=backend)
    for view in (padded[:48, :100], np.asfortranarray(planted()), planted()[::-1].copy()[::-1]):
        targets = extract_targets(view, frame, backend=backend)
        assert targets.area.tolist() == list(PLANTED)
        assert np.array_equal(targets.snr, expected.snr)
    view = padded[:48, :100]
    view.flags.writeable = False
    assert len(extract_targets(view, frame[::-1], backend=backend)) == 4


@every_backend
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_map_with_nonfinite_values_is_refused(backend: BackendName, value: float) -> None:
    probability = planted()
    for where in ((0, 0), (47, 99), (21, 71), (30, 63)):
        probability[where] = value
    with pytest.raises(ValueError, match="probability has 4 NaN or infinite values of 4800"):
        extract_targets(probability, backend=backend)


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "float64 map": ({"probability": np.zeros((9, 9))}, TypeError, r"float32, got float64; .*astype"),
    "logits of a batch": ({"probability": np.zeros((1, 1, 9, 9), np.float32)}, ValueError, r"\[H, W\]"),
    "empty map": ({"probability": np.zeros((0, 9), np.float32)}, ValueError, "no pixel"),
    "no map": ({"probability": None}, TypeError, "got NoneType"),
    "frame of another size": (
        {"frame": np.zeros((9, 8), np.uint8)},
        ValueError,
        r"\(9, 8\).*same shape; crop",
    ),
    "colour frame": ({"frame": np.zeros((9, 9, 3), np.uint8)}, ValueError, "one channel"),
    "int64 frame": ({"frame": np.zeros((9, 9), np.int64)}, TypeError, "frame must be uint8"),
    "NaN in the frame": ({"frame": np.full((9, 9), np.nan, np.float32)}, ValueError, "frame has 81 NaN"),
    "threshold below": ({"threshold": -0.1}, ValueError, "probability from 0 to 1, got -0.1"),
    "threshold above": ({"threshold": 1.5}, ValueError, "from 0 to 1"),
    "threshold NaN": ({"threshold": float("nan")}, ValueError, "from 0 to 1, got nan"),
    "no target allowed": ({"max_targets": 0}, ValueError, "at least 1, got 0"),
    "half a target": ({"max_targets": 2.5}, TypeError, "integer"),
    "unknown backend": ({"backend": "tpu"}, ValueError, "unknown backend 'tpu'"),
}


@every_backend
@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(backend: BackendName, name: str) -> None:
    change, error, message = BAD[name]
    arguments: dict[str, Any] = {"probability": np.zeros((9, 9), np.float32), "backend": backend, **change}
    with pytest.raises(error, match=message):
        extract_targets(**arguments)


def test_targets_of_unequal_lengths_are_refused() -> None:
    good = extract_targets(planted())
    with pytest.raises(ValueError, match=r"Targets.peak must have shape \(4,\) .* got \(3,\)"):
        Targets(good.xy, good.xyxy, good.area, good.peak[:3], good.mean, good.snr, truncated=False, total=4)
