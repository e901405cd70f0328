# SPDX-License-Identifier: Apache-2.0
"""The folder between the two halves of ``pitviper adapt``: ``sdk.adapting`` gathers it, ``train.adaptation`` learns."""

from __future__ import annotations

from typing import Final

__all__ = ["CLICKS", "LEAST_JUDGES", "MATERIAL", "SCHEMA", "TRACKS"]

LEAST_JUDGES: Final = 5
"""Held-out frames with points that are needed: of four, all get better by chance alone once in 16 times."""
SCHEMA: Final = "pitviper.material/1"
MATERIAL: Final = "material.json"
"""What is known of the stream and its frames; written last, so that a folder that holds it is whole."""
CLICKS: Final = "clicks.csv"
"""Points that a person put, of frames in ``images/``."""
TRACKS: Final = "tracks.csv"
"""Points of believed tracks, of other frames in ``images/``."""
