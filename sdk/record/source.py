# SPDX-License-Identifier: Apache-2.0
"""`ReplaySource`: a recording as a source, with the times that its frames had (`replay://FOLDER`)."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, unquote

from pitviper.sdk.arguments import require_number
from pitviper.sdk.errors import InputError, SourceError, SourceLost
from pitviper.sdk.record.entries import Entry
from pitviper.sdk.record.reading import Recording
from pitviper.sdk.sources.frame import Frame, Source, SourceInfo
from pitviper.sdk.sources.schemes import OpenOptions

__all__ = ["ReplaySource", "open_replay"]

_LOG = logging.getLogger("pitviper.record")
_LONGEST_STEP_S: Final = 3600.0


def open_replay(text: str, how: OpenOptions) -> Source:
    """The recording that `replay://FOLDER`, or `replay://FOLDER?speed=1`, names.

    Raises:
        SourceError: It is no recording. InputError: An unknown key, or a speed that cannot be.
    """
    place, _, query = text.partition("://")[2].partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    speed = given.pop("speed", None)
    if given:
        raise InputError(f"{text}: unknown key {next(iter(given))!r}; there is speed")
    try:
        pace = math.inf if speed is None else float(speed)
    except ValueError:
        raise InputError(f"{text}: speed={speed} is no number; 1 is the original speed") from None
    return ReplaySource(unquote(place), speed=pace, on_error=how.on_error)


class ReplaySource(Source):
    """The frames of a recording with their numbers, times, flags and telemetry, each checked by its CRC-32.

    Args:
        folder: The recording.
        speed: Times the original speed; infinity, the default, waits for nothing. It is never a live source: no
            frame is dropped, and the times are those of the recording.
        on_error: ``raise``, or ``skip`` for frames that are damaged: they are counted.

    Attributes:
        entry: What the index says of the frame that was handed out last.

    Raises:
        SourceError: It is no recording. InputError: A speed that is not above 0.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, speed: float = math.inf, on_error: str = "raise"
    ) -> None:
        require_number("speed", speed, above=0, unit="(1 is the original speed)", endless=True)
        self.recording = Recording(folder)
        self.entry: Entry | None = None
        self._speed = speed
        first = next((each for each in self.recording.entries() if isinstance(each, Entry)), None)
        height, width = (None, None) if first is None else first.shape
        info = SourceInfo(
            "replay",
            f"replay://{self.recording.folder}",
            width,
            height,
            fps=self.recording.header.fps,
            count=self.recording.count,
        )
        super().__init__(info, on_error=on_error, files=self.recording.files)

    def _read(self) -> Iterator[Frame]:
        frames = self.recording.frames()
        gap: tuple[str, ...] = ()
        clock: tuple[float, int] | None = None
        count = 0
        try:
            for entry in self.recording.entries():
                try:
                    if isinstance(entry, SourceError):
                        raise entry
                    image = frames.get(entry)
                except SourceError as error:
                    gap = ("after_gap",)
                    if isinstance(error, SourceLost) and self._cut_off(count):
                        self.skipped += 1
                        _LOG.warning("%s; the recording was cut off after %d frames", error, count)
                        continue
                    self._skip("a frame", error)
                    continue
                clock = self._pace(entry, clock)
                self.entry = entry
                yield Frame(image, entry.index, entry.time, entry.name, entry.flags + gap, entry.telemetry)
                gap = ()
                count += 1
        finally:
            frames.close()

    def _cut_off(self, count: int) -> bool:
        """Whether a missing picture is the end of a killed recording, where the index is up to two frames ahead."""
        video = self.recording.header.encoding == "ffv1"
        return video and self.recording.count - count - self.skipped <= 2

    def _pace(self, entry: Entry, clock: tuple[float, int] | None) -> tuple[float, int] | None:
        """Wait until a frame is due; `clock` is when which recorded time was now."""
        if math.isinf(self._speed):
            return None
        stamp = entry.time.sensor_ns if entry.time.sensor_ns is not None else entry.time.host_ns
        now = time.monotonic()
        if clock is None:
            return now, stamp
        left = (stamp - clock[1]) / 1e9 / self._speed - (now - clock[0])
        if abs(left) > _LONGEST_STEP_S:
            # The recorded clock jumped; go on from here.
            return now, stamp
        self._wait_until(now + left)
        return clock
