# SPDX-License-Identifier: Apache-2.0
"""The folder between the two halves of ``pitviper adapt``: ``sdk.adapting`` gathers it, ``train.adaptation`` learns."""

from __future__ import annotations

from typing import Final

__all__ = ["CLICKS", "MATERIAL", "SCHEMA", "TRACKS"]

SCHEMA: Final = "pitviper.material/1"
MATERIAL: Final = "material.json"
"""What is known of the stream and its frames; written last, so that a folder that holds it is whole."""
CLICKS: Final = "clicks.csv"
"""Points that a person put, of frames in ``images/``."""
TRACKS: Final = "tracks.csv"
"""Points of believed tracks, of other frames in ``images/``."""
