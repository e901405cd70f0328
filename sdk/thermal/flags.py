# SPDX-License-Identifier: Apache-2.0
"""The flags that a `ThermalMonitor` can raise, and what each means."""

from __future__ import annotations

from typing import Final

__all__ = ["FLAGS"]

FLAGS: Final[dict[str, str]] = {
    "frozen": "the picture is the one before it: a shutter correction, a stalled camera or a repeated frame",
    "jump": "the whole picture changed at once: a correction, a gain switch, a cut or a hard movement",
    "ffc_suspected": "the picture looks like a shutter correction: frozen for a while, its end, or a closed shutter",
    "saturated": "many pixels lie exactly at the highest or lowest count of the frame",
    "agc_suspected": "the frame looks like a stretched picture and not like counts",
    "palette_suspected": "the source is in colour; a false-colour palette is no temperature",
    "byte_order_suspected": "the two bytes of each pixel are probably swapped",
    "bad_pixel_target": "a target lies on a pixel that is known to be bad (see `Detections.bad_pixel`)",
    "bad_pixel_removed": "such a target was taken out, as was asked for",
    "shape_changed": "the size or type of the frames changed; everything that was learned starts anew",
}
