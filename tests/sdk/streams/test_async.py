# SPDX-License-Identifier: Apache-2.0
"""Streams under asyncio: the event loop goes on, cancelling loses no frame, closing leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pitviper import sdk

from .conftest import Script, adds_up

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_all_results_in_order(detector: sdk.Detector) -> None:
    source = Script(range(6))

    async def main() -> tuple[list[int], Any]:
        async with detector.astream(source, mode="all") as stream:
            return [found.frame_id async for found in stream], stream

    ids, stream = asyncio.run(main())
    assert ids == [*range(6)]
    assert stream.state == "ended"
    assert adds_up(stream.stats, 6)


def test_the_loop_runs_while_a_camera_is_silent(detector: sdk.Detector) -> None:
    reached, go = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go.wait(120)

    async def main() -> tuple[int, int]:
        turns = 0
        async with detector.astream(Script([0, wait, 1]), mode="all") as stream:
            await anext(stream)
            waiting = asyncio.ensure_future(anext(stream))
            while not reached.is_set() or turns < 20:
                await asyncio.sleep(0.001)
                turns += 1
            go.set()
            return (await waiting).frame_id, turns

    frame_id, turns = asyncio.run(main())
    assert (frame_id, turns >= 20) == (1, True)


def test_a_wait_that_is_given_up_loses_no_frame(detector: sdk.Detector) -> None:
    go = threading.Event()
    source = Script([0, lambda: go.wait(120), 1, 2])

    async def main() -> tuple[list[int], Any]:
        async with detector.astream(source, mode="all") as stream:
            ids = [(await anext(stream)).frame_id]
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(stream), 0.01)
            go.set()
            ids += [found.frame_id async for found in stream]
            return ids, stream.stats

    ids, stats = asyncio.run(main())
    assert ids == [0, 1, 2]
    assert adds_up(stats, 3)


def test_a_task_that_is_cancelled_closes_its_stream_and_counts_what_was_in_work(
    detector: sdk.Detector,
) -> None:
    reached, go = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go.wait(120)

    source = Script([0, wait, 1])
    kept: list[Any] = []
    seen: list[int] = []

    async def follow() -> None:
        async with detector.astream(source, mode="all") as stream:
            kept.append(stream)
            async for found in stream:
                seen.append(found.frame_id)

    async def main() -> None:
        task = asyncio.ensure_future(follow())
        while not (reached.is_set() and kept):
            await asyncio.sleep(0.001)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, go.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (stream,) = kept
    assert stream.state == "closed"
    # The reader runs ahead, so the first frame may be in work or done when the second is waited for.
    assert stream.stats.processed == len(seen) <= 1
    assert adds_up(stream.stats, source.given)


def test_cancelled_while_it_opens_it_is_closed_when_it_is_open(detector: sdk.Detector) -> None:
    reached, go = threading.Event(), threading.Event()
    source = Script(range(3))

    def opener() -> sdk.Stream:
        reached.set()
        assert go.wait(120)
        return detector.stream(source)

    async def follow() -> None:
        async with sdk.AsyncStream(opener):
            pass

    async def main() -> None:
        task = asyncio.ensure_future(follow())
        while not reached.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, go.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert source.closed_by


def test_what_fails_is_raised_and_closed(detector: sdk.Detector) -> None:
    source = Script([0, sdk.SourceLost("unplugged")])

    async def main() -> Any:
        stream = detector.astream(source, mode="all")
        assert stream.state == "opening"
        await anext(stream)
        with pytest.raises(sdk.SourceLost, match="unplugged"):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        return stream

    stream = asyncio.run(main())
    assert stream.state == "failed"
    assert source.closed_by == ["pitviper-capture"]


def test_a_source_that_cannot_be_opened(detector: sdk.Detector) -> None:
    async def main() -> None:
        async with detector.astream("no-such-file.mkv"):
            pass

    with pytest.raises(sdk.SourceError, match="no such file"):
        asyncio.run(main())
