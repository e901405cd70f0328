# SPDX-License-Identifier: Apache-2.0
"""Detections at points, as a detector would return them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from pitviper import sdk


def detections_at(points: ArrayLike, frame_id: int = 0, **values: Any) -> sdk.Detections:
    xy = np.asarray(points, np.float64).reshape(-1, 2)
    count = len(xy)
    arrays: dict[str, Any] = {
        "xy": xy,
        "xyxy": np.concatenate([xy - 1.5, xy + 1.5], axis=1),
        "score": np.full(count, 0.9),
        "mean": np.full(count, 0.8),
        "area_px": np.full(count, 9),
        "snr": np.full(count, 10.0),
        "shape": (512, 640),
    }
    return sdk.Detections(**{**arrays, "frame_id": frame_id, **values})


@pytest.fixture
def at() -> Callable[..., sdk.Detections]:
    """``at([[x, y], ...], frame_id, **attributes)``."""
    return detections_at
