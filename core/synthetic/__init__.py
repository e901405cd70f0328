# SPDX-License-Identifier: Apache-2.0
"""Seeded synthetic infrared sequences with exact truth. NumPy and SciPy only."""

from pitviper.core.synthetic.config import CLUTTERS, KINDS, SceneConfig
from pitviper.core.synthetic.scene import Scene, SceneFrame, random_scene_frame

__all__ = ["CLUTTERS", "KINDS", "Scene", "SceneConfig", "SceneFrame", "random_scene_frame"]
