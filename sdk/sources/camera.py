# SPDX-License-Identifier: Apache-2.0
"""A source seen through a `CameraProfile`: raw frames become pictures, telemetry becomes flags."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from pitviper.sdk.cameras import CameraProfile, Telemetry
from pitviper.sdk.errors import InputError
from pitviper.sdk.sources.frame import Frame, Source

__all__ = ["CameraSource"]

_LOG = logging.getLogger("pitviper.sources")


class CameraSource(Source):
    """Reads another source and unpacks each raw frame; the size in `info` is that of the raw frames.

    Adds the flags ``ffc`` (the camera says that its shutter correction runs, or that one has just been),
    ``ffc_imminent``, ``agc_on`` (the camera says that its gain control is on) and ``above_valid_bits``.

    Args:
        source: Delivers raw frames; it is closed with this one.
        camera: How to read them.
        on_error: As for every source: a frame that does not fit the profile raises, or is skipped and counted.

    Raises:
        InputError: While reading: a frame that does not fit the profile.
    """

    def __init__(self, source: Source, camera: CameraProfile, *, on_error: str = "raise") -> None:
        info = replace(source.info, fps=source.info.fps or camera.fps)
        super().__init__(info, on_error=on_error, files=source.files)
        self.camera = camera
        self._source = source
        self._last_shutter: int | None = None
        _LOG.info("%s: read as camera %s (%s)", info.name, camera.name, camera.units)
        for doubt in camera.unverified:
            _LOG.info("camera %s, not verified: %s", camera.name, doubt)

    def _read(self) -> Iterator[Frame]:
        own = 0
        gap: tuple[str, ...] = ()
        for frame in self._source:
            self.skipped = self._source.skipped + own
            try:
                image, telemetry = self.camera.unpack(frame.image)
            except InputError as error:
                self._skip(f"frame {frame.index}", InputError(f"frame {frame.index}: {error}"))
                own, gap = own + 1, ("after_gap",)
                continue
            flags = (*frame.flags, *self._flags(telemetry), *gap)
            if image.size and int(image.max()) > self.camera.largest:
                flags = (*flags, "above_valid_bits")
            yield replace(frame, image=image, flags=flags, telemetry=telemetry)
            gap = ()
        self.skipped = self._source.skipped + own

    def _flags(self, telemetry: Telemetry | None) -> tuple[str, ...]:
        if telemetry is None:
            return ()
        previous, self._last_shutter = self._last_shutter, telemetry.last_shutter
        corrected = previous is not None and previous != telemetry.last_shutter
        found = {
            "ffc": telemetry.shutter == "running" or corrected,
            "ffc_imminent": telemetry.shutter == "imminent",
            "agc_on": bool(telemetry.agc),
        }
        return tuple(name for name, raised in found.items() if raised)

    def interrupt(self) -> None:
        """As `Source.interrupt`."""
        super().interrupt()
        self._source.interrupt()

    def _release(self) -> None:
        self._source.close()
