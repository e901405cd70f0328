# SPDX-License-Identifier: Apache-2.0
"""Small synthetic sequences for the thermal tests, rendered once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.core.synthetic import Scene, SceneConfig

SHAPE = (96, 128)


@functools.cache
def rendered(clutter: str, frames: int = 72, seed: int = 5, **values: Any) -> NDArray[np.uint16]:
    config = SceneConfig(width=SHAPE[1], height=SHAPE[0], frames=frames, seed=seed, clutter=clutter, **values)
    made = np.stack([view.frame for view in Scene(config)])
    made.setflags(write=False)
    return made


@pytest.fixture(scope="session")
def sequence() -> Callable[..., NDArray[np.uint16]]:
    """Frames uint16 [72, 96, 128] of a scene, ``sequence("sky", contrast=3.0)``; not to be written to."""
    return rendered
