# SPDX-License-Identifier: Apache-2.0
"""RTSP, RTP, UDP and HTTP streams, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pitviper.sdk.errors import SourceError, SourceLost
from pitviper.sdk.sources.frame import Frame, Source
from pitviper.sdk.sources.live import LiveSource
from pitviper.sdk.sources.schemes import OpenOptions
from pitviper.sdk.sources.video import stream_info

__all__ = ["HttpSource", "open_network"]

_LOW_DELAY: Final = {"fflags": "nobuffer"}
_DEFAULTS: Final[dict[str, tuple[str | None, dict[str, str]]]] = {
    # kind: FFmpeg's input format (None probes), and options that the caller may override.
    "rtsp": ("rtsp", {"rtsp_transport": "tcp", **_LOW_DELAY}),
    "rtp": ("rtp", _LOW_DELAY),
    "udp": (None, _LOW_DELAY),
    "http": (None, {}),
    # Only what a session description needs: it must not make FFmpeg open other files.
    "sdp": ("sdp", {"protocol_whitelist": "file,udp,rtp", **_LOW_DELAY}),
}


def open_network(text: str, how: OpenOptions) -> Source:
    """A stream by its URL, or by the path of an SDP file. Credentials in the URL never reach a message or a log.

    Raises:
        SourceError: It cannot be opened. SourceTimeout: it did not answer in time.
    """
    scheme = text.partition("://")[0].lower() if "://" in text else "sdp"
    kind = {"rtsps": "rtsp", "https": "http"}.get(scheme, scheme)
    if kind == "sdp" and not Path(text).is_file():
        raise SourceError(
            f"{text}: no such session description; save the SDP text that the sender prints there"
        )
    form, defaults = _DEFAULTS[kind]
    source = HttpSource if kind == "http" else LiveSource
    return source(text, kind=kind, form=form, options={**defaults, **how.options}, timeout_s=how.timeout_s)


class HttpSource(LiveSource):
    """A camera, or a video of known length: that one is not live, and its end is no loss."""

    def __init__(self, url: str, **others: Any) -> None:
        super().__init__(url, **others)
        found = stream_info(self._container, kind="http", name=self.info.name, live=False)
        if found.count:
            self.info = found

    def _read(self) -> Iterator[Frame]:
        count = 0
        try:
            for frame in super()._read():
                yield frame
                count += 1
        except SourceLost:
            # The count of some containers is an estimate from the duration, as for files.
            expected = self.info.count
            if expected is None or expected - count > max(1, expected // 50):
                raise
