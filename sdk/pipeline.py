# SPDX-License-Identifier: Apache-2.0
"""`Pipeline`: source, detector, tracker, monitor, outputs and a callback as one object with a thread of its own."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.detections import Detections
from pitviper.sdk.errors import SdkError
from pitviper.sdk.stream import StreamState
from pitviper.sdk.stream_stats import StreamStats
from pitviper.sdk.wakeup import Wakeup

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.sources import Frame, SourceInfo

__all__ = ["Pipeline"]

_LOG = logging.getLogger("pitviper.stream")
_SLICE_S: Final = 0.2
_AT_EXIT_S: Final = 5.0
_running: weakref.WeakSet[Pipeline] = weakref.WeakSet()


class Pipeline:
    """Runs a stream in the background: capture in one thread, detection and outputs in another.

    The source is opened by the constructor, so that a wrong address is told at once; `start` begins, ``with`` does
    both `start` and `stop`.

    Args:
        source: As in `Detector.stream`.
        detector: Finds the targets; it is not closed.
        on_result: Called with each `Frame` and its `Detections` after the sinks, in the pipeline's thread. What it
            raises ends the pipeline, and is raised again by `join` and `stop`.
        options: Those of `Detector.stream`: ``tracker``, ``monitor``, ``sinks``, ``mode`` and all others.

    Attributes:
        latest: The last result, or None.

    Raises:
        SourceError: The source cannot be opened.
        InputError: An argument is out of range.

    Example:
        >>> with Pipeline("rtsp://camera/stream", detector, tracker=sdk.Tracker()) as pipeline:  # doctest: +SKIP
        ...     while not pipeline.join(1.0):
        ...         print(pipeline.state, pipeline.stats.processed)
    """

    def __init__(
        self,
        source: Any,
        detector: Detector,
        *,
        on_result: Callable[[Frame, Detections], object] | None = None,
        **options: Any,
    ) -> None:
        self.latest: Detections | None = None
        self._on_result = on_result
        self._error: BaseException | None = None
        self._failed = self._ended = False
        self._wakeup = Wakeup()
        self._stream = detector.stream(source, **options)
        self._thread = threading.Thread(target=self._work, name="pitviper-pipeline", daemon=True)

    @property
    def state(self) -> StreamState:
        """As `Stream.state`; ``failed`` also when ``on_result`` raised."""
        return "failed" if self._failed else self._stream.state

    @property
    def stats(self) -> StreamStats:
        """As `Stream.stats`."""
        return self._stream.stats

    @property
    def info(self) -> SourceInfo:
        """What the source is."""
        return self._stream.info

    @property
    def threshold(self) -> float:
        """As `Stream.threshold`: it may be set at any time, and holds from the next frame on."""
        return self._stream.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._stream.threshold = value

    def start(self) -> Pipeline:
        """Begin; returns at once. A pipeline that still runs when the program ends is stopped then.

        Raises:
            SdkError: It was started before: a stream runs once. KeyboardInterrupt: Ctrl-C, after it was stopped.
        """
        _running.add(self)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise SdkError(f"this pipeline was started before ({error}); make a new one") from error
        except KeyboardInterrupt:
            # The thread may work already, and who called has nothing yet to stop it with.
            self.stop()
            raise
        return self

    def run(self) -> StreamStats:
        """`start`, wait for the end, and return the counts. Ctrl-C stops it, with what was captured processed.

        Raises:
            Exception: What ended the pipeline. KeyboardInterrupt: Ctrl-C, after the outputs were finished.
        """
        try:
            self.start()
            self.join()
        except KeyboardInterrupt:
            self.stop()
            raise
        return self.stats

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, at most ``timeout_s`` seconds; whether it has come.

        Raises:
            Exception: What ended the pipeline; once.
            SdkError: It was not started.
        """
        if self._thread.ident is None:
            raise SdkError("this pipeline was not started; call start(), or use it as a context manager")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ended:
            left = _SLICE_S if deadline is None else min(_SLICE_S, deadline - time.monotonic())
            if left <= 0:
                return False
            # Not Thread.join: interrupted by Ctrl-C it takes a running thread for one that has ended (CPython 3.11).
            self._wakeup.wait(left)
        self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error
        return True

    def stop(self, *, drain: bool = True, timeout_s: float | None = None) -> bool:
        """End it and wait, at most ``timeout_s`` seconds; whether it has ended. Twice is fine.

        Args:
            drain: Frames that were captured are still processed; False counts them as dropped (``closed``).
            timeout_s: None waits for as long as it takes. From ``on_result`` it never waits.

        Raises:
            Exception: As from `join`.
        """
        self._stream.stop(drain=drain)
        if self._thread.ident is None:
            self._stream.close()
            return True
        if threading.current_thread() is self._thread:
            return False
        return self.join(timeout_s)

    def _work(self) -> None:
        try:
            with self._stream as stream:
                for found in stream:
                    self.latest = found
                    if self._on_result is not None and stream.frame is not None:
                        self._on_result(stream.frame, found)
        except BaseException as error:
            # Raised again where the pipeline is waited for; logged, because that may be never.
            self._error, self._failed = error, True
            _LOG.error("the pipeline ended: %s: %s", type(error).__name__, error)
        finally:
            self._ended = True
            self._wakeup.set()

    def __enter__(self) -> Pipeline:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop(drain=error is None)
        except Exception:
            # Another error is on its way, and this one was logged.
            if error is None:
                raise


@atexit.register
def _stop_those_that_run() -> None:
    """Threads that still compute while the interpreter goes down abort it, and their outputs stay unfinished."""
    for pipeline in list(_running):
        if not pipeline._ended:
            _LOG.warning("a pipeline still ran when the program ended; stop() it, or use it in a with block")
            try:
                pipeline.stop(drain=False, timeout_s=_AT_EXIT_S)
            except Exception as error:
                _LOG.error("the pipeline ended: %s: %s", type(error).__name__, error)
