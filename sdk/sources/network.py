# SPDX-License-Identifier: Apache-2.0
"""RTSP, RTP, UDP and HTTP streams, through PyAV."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pitviper.sdk.errors import SourceError
from pitviper.sdk.sources.frame import Source
from pitviper.sdk.sources.live import LiveSource
from pitviper.sdk.sources.schemes import OpenOptions

__all__ = ["open_network"]

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
    return LiveSource(
        text, kind=kind, form=form, options={**defaults, **how.options}, timeout_s=how.timeout_s
    )
