# SPDX-License-Identifier: Apache-2.0
"""GStreamer pipelines as sources (`gst://LAUNCH`), through the system's PyGObject, imported when first used."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import MissingExtra, SourceError, SourceLost, SourceTimeout
from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.live import redact
from pitviper.sdk.sources.schemes import OpenOptions

__all__ = ["GStreamerSource", "open_gstreamer"]

_LOG = logging.getLogger("pitviper.sources")
_SINK: Final = "pitviper"
_FORMATS: Final = {"GRAY16_LE": "<u2", "GRAY16_BE": ">u2", "GRAY8": "|u1", "NV12": "|u1", "I420": "|u1"}
# Two buffers and none dropped: what comes too late is dropped, and counted, by the stream and not in here.
_CAPS: Final = f"video/x-raw,format={{{','.join(_FORMATS)}}}"
_TAIL: Final = f" ! appsink name={_SINK} sync=false max-buffers=2 drop=false caps={_CAPS}"
_STEP_NS: Final = 100_000_000


class _Library(NamedTuple):
    Gst: Any
    GstVideo: Any


def _library() -> _Library:
    try:
        gi = import_module("gi")
        for name in ("Gst", "GstVideo"):
            gi.require_version(name, "1.0")
        found = _Library(import_module("gi.repository.Gst"), import_module("gi.repository.GstVideo"))
    except (ImportError, ValueError) as error:
        raise MissingExtra(
            f"gst:// needs the system's GStreamer for Python ({error}): apt install python3-gi gir1.2-gstreamer-1.0 "
            "gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good, in an environment made with --system-site-packages"
        ) from error
    done = found.Gst.init_check(None)
    if not (done[0] if isinstance(done, tuple) else done):
        raise MissingExtra("gst:// cannot start GStreamer; run gst-inspect-1.0 to see why")
    return found


def open_gstreamer(text: str, how: OpenOptions) -> Source:
    """The pipeline that `gst://LAUNCH` describes.

    Raises:
        MissingExtra: There is no GStreamer for this Python. SourceError: The pipeline cannot be built or started.
    """
    return GStreamerSource(text.partition("://")[2].strip(), timeout_s=how.timeout_s)


class GStreamerSource(Source):
    """Frames of a launch string; an appsink for gray frames is put behind it.

    The pipeline decides what is converted: an element such as ``videoconvert`` is added by whoever writes the string.
    Of NV12 and I420 the luma is taken. Times are those of the buffers. The end of the pipeline ends the source.

    Args:
        launch: As for gst-launch-1.0, without a sink.
        timeout_s: Longest wait in seconds, for the start and for a frame.

    Raises:
        SourceError: An error in the string, or an element that fails. While reading: `SourceTimeout`, `SourceLost`.
    """

    def __init__(self, launch: str, *, timeout_s: float) -> None:
        self._name = redact(f"gst://{launch}")
        self._timeout_s = timeout_s
        super().__init__(SourceInfo("gst", self._name, live=True))
        self._gst, self._video = _library()
        problem = ""
        try:
            self._pipeline = self._gst.parse_launch(launch + _TAIL)
        except Exception as error:
            # GLib's error type comes with the library; its text repeats the string, so it is not chained.
            problem = redact(str(error))
        if problem:
            raise SourceError(
                f"{self._name}: the pipeline cannot be built: {problem}; try it with gst-launch-1.0"
            )
        self._sink = self._pipeline.get_by_name(_SINK)
        try:
            self._start(self._gst.State.PAUSED)
        except BaseException:
            self._release()
            raise
        _LOG.info("opened %s", self._name)

    def _start(self, state: Any) -> None:
        """Go to a state. PAUSED is waited for; playing begins with the first frame, which `_pull` waits for."""
        changed = self._pipeline.set_state(state)
        if changed == self._gst.StateChangeReturn.ASYNC and state == self._gst.State.PAUSED:
            changed, *_ = self._pipeline.get_state(int(min(self._timeout_s, 1e6) * 1e9))
        if changed == self._gst.StateChangeReturn.FAILURE:
            raise SourceError(f"{self._name}: cannot be started: {self._trouble() or 'no reason was given'}")
        if changed == self._gst.StateChangeReturn.ASYNC and state == self._gst.State.PAUSED:
            raise SourceTimeout(
                f"{self._name}: not ready after {self._timeout_s:g} s; check its elements, or raise timeout_s"
            )

    def _trouble(self) -> str:
        """The error that an element has posted, or an empty text."""
        message = self._pipeline.get_bus().timed_pop_filtered(0, self._gst.MessageType.ERROR)
        if message is None:
            return ""
        error, _ = message.parse_error()
        return redact(f"{message.src.get_name()}: {error.message}")

    def _read(self) -> Iterator[Frame]:
        self._start(self._gst.State.PLAYING)
        index = 0
        while True:
            sample = self._pull(index)
            if sample is None:
                return
            yield self._frame(sample, index)
            index += 1

    def _pull(self, index: int) -> Any:
        """The next sample; None at the end of the pipeline."""
        end = time.monotonic() + self._timeout_s
        while True:
            left = max(int((end - time.monotonic()) * 1e9), 0)
            # In short steps, because an error of an element does not wake the sink.
            sample = self._sink.emit("try-pull-sample", min(left, _STEP_NS))
            if sample is not None:
                return sample
            trouble = self._trouble()
            if trouble:
                raise SourceLost(f"{self._name}: failed after {index} frames: {trouble}; open it again")
            if self._interrupted or self._sink.get_property("eos"):
                return None
            if time.monotonic() >= end:
                raise SourceTimeout(
                    f"{self._name}: no frame for {self._timeout_s:g} s; is its source running? Raise timeout_s"
                )

    def _frame(self, sample: Any, index: int) -> Frame:
        buffer = sample.get_buffer()
        image, form = self._plane(sample, buffer)
        stamp = None if buffer.pts == self._gst.CLOCK_TIME_NONE else int(buffer.pts)
        flags = ("colour_ignored",) if form in ("NV12", "I420") else ()
        if buffer.has_flags(self._gst.BufferFlags.CORRUPTED):
            flags = (*flags, "corrupt")
        return Frame(image, index, FrameTime.now(stamp), None, flags)

    def _plane(self, sample: Any, buffer: Any) -> tuple[NDArray[Any], str]:
        caps = sample.get_caps().get_structure(0)
        form, width, height = caps.get_string("format"), caps.get_value("width"), caps.get_value("height")
        dtype = np.dtype(_FORMATS[form])
        meta = self._video.buffer_get_video_meta(buffer)
        # Without meta data rows are padded to 4 bytes, GStreamer's default.
        row = width * dtype.itemsize
        stride, offset = (meta.stride[0], meta.offset[0]) if meta else (-(-row // 4) * 4, 0)
        mapped, info = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise SourceLost(
                f"{self._name}: a frame cannot be read; add videoconvert, or copy it out of device memory"
            )
        try:
            data = np.frombuffer(info.data, np.uint8)
            if data.size < offset + stride * (height - 1) + row:
                raise SourceError(
                    f"{self._name}: a {form} frame of {width}x{height} has {data.size} bytes, too few"
                )
            rows = np.lib.stride_tricks.as_strided(data[offset:], (height, row), (stride, 1), writeable=False)
            plane = np.array(np.ascontiguousarray(rows).view(dtype), dtype=dtype.newbyteorder("="))
        finally:
            buffer.unmap(info)
        return plane, form

    def _release(self) -> None:
        pipeline = getattr(self, "_pipeline", None)
        if pipeline is not None:
            pipeline.set_state(self._gst.State.NULL)
