# SPDX-License-Identifier: Apache-2.0
"""`AsyncStream`: a stream for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from pitviper.sdk.detections import Detections
from pitviper.sdk.stream import Stream, StreamState
from pitviper.sdk.stream_stats import StreamStats

__all__ = ["AsyncStream"]


class AsyncStream:
    """Iterates over the results of a source without blocking the event loop. Made by `Detector.astream`.

    A waiting ``anext`` may be cancelled, by `asyncio.wait_for` for instance: the result that it waited for is given to
    the next one. To be used by one task.

    Args:
        opener: Opens the stream; called in a thread of its own, in which the stream then runs.
    """

    def __init__(self, opener: Callable[[], Stream]) -> None:
        self._opener = opener
        self._stream: Stream | None = None
        self._pending: asyncio.Future[Detections | None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pitviper-stream")
        self._closed = False
        self._stopped: bool | None = None

    @property
    def state(self) -> StreamState:
        """As `Stream.state`; ``opening`` also before the source is open."""
        if self._stream is not None:
            return self._stream.state
        return "closed" if self._closed else "opening"

    @property
    def stats(self) -> StreamStats:
        """As `Stream.stats`; nothing before the source is open."""
        return StreamStats(0, 0, {}, 0, 0.0) if self._stream is None else self._stream.stats

    def stop(self, *, drain: bool = True) -> None:
        """As `Stream.stop`: ask the stream to end, from any task or thread."""
        self._stopped = drain
        if self._stream is not None:
            self._stream.stop(drain=drain)

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Detections:
        if self._closed:
            raise StopAsyncIteration
        if self._pending is None:
            self._pending = asyncio.get_running_loop().run_in_executor(self._thread, self._advance)
        # Cancelling the waiting task must not cancel the frame in work.
        await asyncio.wait([self._pending])
        pending, self._pending = self._pending, None
        if pending.exception() is not None or pending.result() is None:
            await self.aclose()
        found = pending.result()
        if found is None:
            raise StopAsyncIteration
        return found

    def _open(self) -> Stream:
        if self._stream is None:
            self._stream = self._opener()
            if self._stopped is not None:
                # It came while the source was being opened.
                self._stream.stop(drain=self._stopped)
        return self._stream

    def _advance(self) -> Detections | None:
        return next(self._open(), None)

    async def aclose(self) -> None:
        """Close the stream: what is in work is finished and counted as ``closed``. Twice is fine.

        Raises:
            SinkError: A sink could not finish its output.
        """
        if self._closed:
            return
        self._closed = True
        self.stop(drain=False)
        closing = asyncio.ensure_future(self._close())
        # A second cancellation must not leave the source open.
        await asyncio.shield(closing)

    async def _close(self) -> None:
        pending, self._pending = self._pending, None
        try:
            if pending is not None:
                await asyncio.wait([pending])
                stream = self._stream
                if pending.exception() is None and pending.result() is not None and stream is not None:
                    stream.take_back()
            # Behind whatever that thread still does, the opening of the source included.
            await asyncio.get_running_loop().run_in_executor(self._thread, self._shut)
        finally:
            self._thread.shutdown(wait=False)

    def _shut(self) -> None:
        if self._stream is not None:
            self._stream.close()

    async def __aenter__(self) -> AsyncStream:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
