# SPDX-License-Identifier: Apache-2.0
"""Several contexts: as many calls at the same time, the same results, closed after their calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.sdk.contexts import Contexts


class Meeting:
    """An engine whose calls wait until so many are in it at once; it knows how many were in one instance."""

    def __init__(self, barrier: threading.Barrier | None) -> None:
        self.barrier, self.inside, self.most, self.closed = barrier, 0, 0, False

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        assert not self.closed
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.barrier is not None:
            self.barrier.wait(120)
        self.inside -= 1
        return frames + 1

    def close(self) -> None:
        assert self.inside == 0
        self.closed = True


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_calls_as_contexts_run_at_once_and_one_on_each(count: int) -> None:
    barrier = threading.Barrier(count)
    engines: Any = [Meeting(barrier) for _ in range(count)]
    contexts = Contexts(engines)
    frame = np.zeros((1, 1, 8, 8), np.float32)
    with ThreadPoolExecutor(count) as pool:
        # The barrier lets nobody through before all contexts are in use.
        for found in pool.map(contexts.run, [frame] * count):
            assert float(found.max()) == 1
    assert [engine.most for engine in engines] == [1] * count
    contexts.close()
    contexts.close()
    assert all(engine.closed for engine in engines)
    with pytest.raises(sdk.EngineError, match="closed"):
        contexts.run(frame)


def test_a_call_that_fails_leaves_its_context_free() -> None:
    class Failing:
        def run(self, frames: Any) -> Any:
            raise sdk.EngineError("out of memory")

        def close(self) -> None:
            pass

    engines: Any = [Failing()]
    contexts = Contexts(engines)
    for _ in range(2):
        with pytest.raises(sdk.EngineError, match="out of memory"):
            contexts.run(np.zeros((1, 1, 8, 8), np.float32))


@pytest.mark.parametrize("contexts", [1, 2])
def test_threads_and_streams_get_what_one_thread_gets(plant: Callable[..., Any], contexts: int) -> None:
    frames = [plant((64, 48 + 16 * (i % 3)), {(9 + i, 11 + i): 1 + i % 3}, seed=i) for i in range(18)]
    with sdk.Detector("pit-n", threads=1, contexts=contexts, warmup=(64, 64)) as detector:
        serial = [detector.detect(frame) for frame in frames]

        def streamed(mode: str) -> list[sdk.Detections]:
            return list(detector.stream(frames, mode=mode))

        with ThreadPoolExecutor(6) as pool:
            streams = [pool.submit(streamed, mode) for mode in ("all", "throughput")]
            parallel = list(pool.map(detector.detect, frames * 2))
            for found in (parallel[:18], parallel[18:], streams[0].result()):
                for one, two in zip(serial, found, strict=True):
                    np.testing.assert_array_equal(one.xy, two.xy)
                    np.testing.assert_array_equal(one.score, two.score)
            # The runtime may order its sums another way for a batch: one step of fp32 probabilities.
            for one, two in zip(serial, streams[1].result(), strict=True):
                np.testing.assert_allclose(one.score, two.score, rtol=0, atol=1e-5)


def test_contexts_out_of_range(make_detector: Callable[..., sdk.Detector]) -> None:
    with pytest.raises(sdk.InputError, match="contexts must be"):
        make_detector(contexts=0)
    with pytest.raises(sdk.InputError, match="belong to engines by name"):
        make_detector(contexts=2)
