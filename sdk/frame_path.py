# SPDX-License-Identifier: Apache-2.0
"""The way of a frame through the detector: standardise, network, extract targets; each stage timed.

Many threads may go through one path at once. The stages around the network share nothing that changes; each context
of the network runs under a lock, one call at a time.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.kernels import Targets, extract_targets, standardise
from pitviper.sdk.contexts import Contexts
from pitviper.sdk.detections import Detections, Timing
from pitviper.sdk.errors import EngineError, InputError
from pitviper.sdk.frames import POLARITIES, CheckedFrame
from pitviper.sdk.log_odds import LogOdds
from pitviper.sdk.maps import ProbabilityMap
from pitviper.sdk.tiling import Tiling, run_tiled

__all__ = ["MAX_TARGETS", "FramePath"]

MAX_TARGETS: Final = 256
"""Most targets of one frame where nobody says otherwise."""

_LARGEST_BATCH = 8


class FramePath:
    """Runs checked frames through the network.

    Args:
        contexts: Run the network.
        stride: Multiple that the sides of the network's input must have.
        tiling: When and how large frames are cut.
        max_targets: Most targets of one frame.
        polarity: One of `POLARITIES`: the network sees the negative of a frame whose targets are dark.
    """

    def __init__(
        self,
        contexts: Contexts,
        *,
        stride: int,
        tiling: Tiling,
        max_targets: int,
        polarity: str = POLARITIES[0],
    ) -> None:
        self._contexts = contexts
        self._stride = stride
        self._tiling = tiling
        self._max_targets = max_targets
        self._dark = polarity == "dark"
        self._local = threading.local()

    def one(
        self,
        frame: CheckedFrame,
        threshold: float,
        *,
        wait_ms: float = 0.0,
        host_ns: int | None = None,
        **values: Any,
    ) -> Detections:
        """Targets of one frame.

        Args:
            frame: From `check_frame`.
            threshold: Probability that a pixel has to exceed.
            wait_ms: Time that the caller waited for the frame.
            host_ns: When the frame arrived, by this machine's monotonic clock; gives the age of the result.
            values: Further attributes of `Detections`.

        Raises:
            InputError: The frame holds NaN or infinities.
            EngineError: The engine failed, or the path is closed.
        """
        started = time.perf_counter_ns()
        height, width = frame.pixels.shape
        buffer = self._buffer(self._padded(height), self._padded(width))
        self._standardise(frame, buffer)
        standardised = time.perf_counter_ns()
        tiled = self._tiling.applies_to(height, width)
        if tiled:
            run_one = functools.partial(self._run, threshold=threshold)
            padded = run_tiled(run_one, buffer, self._tiling, self._stride)
        else:
            padded = self._run(buffer[None, None], threshold)[0, 0]
        run = time.perf_counter_ns()
        targets, probability = self._judged(padded[:height, :width], frame, threshold)
        flags = (*frame.flags, *values.pop("flags", ()), *(("tiled",) if tiled else ()))
        ended = time.perf_counter_ns()
        return _detections(
            targets,
            (height, width),
            threshold=threshold,
            timing=Timing(
                standardise_ms=(standardised - started) / 1e6,
                network_ms=(run - standardised) / 1e6,
                extract_ms=(ended - run) / 1e6,
                total_ms=(ended - started) / 1e6,
                wait_ms=wait_ms,
                age_ms=None if host_ns is None else (time.monotonic_ns() - host_ns) / 1e6,
            ),
            flags=flags,
            probability=probability,
            **values,
        )

    def many(self, frames: Sequence[CheckedFrame], threshold: float) -> list[Detections]:
        """Targets of several frames, in their order. Frames of equal size go through the network together.

        Raises:
            InputError, EngineError: As in `one`; the message of an InputError names the index of the frame.
        """
        results: dict[int, Detections] = {}
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, frame in enumerate(frames):
            groups.setdefault(frame.pixels.shape, []).append(index)
        for (height, width), members in groups.items():
            if self._tiling.applies_to(height, width):
                size = 1
            else:
                size = max(1, min(_LARGEST_BATCH, self._tiling.max_pixels // (height * width)))
            for start in range(0, len(members), size):
                chunk = members[start : start + size]
                if len(chunk) == 1:
                    with _naming(chunk[0]):
                        found = [self.one(frames[chunk[0]], threshold, frame_id=chunk[0])]
                else:
                    found = self._together(frames, chunk, threshold)
                results.update(zip(chunk, found, strict=True))
        return [results[index] for index in range(len(frames))]

    def _together(
        self, frames: Sequence[CheckedFrame], chunk: Sequence[int], threshold: float
    ) -> list[Detections]:
        height, width = frames[chunk[0]].pixels.shape
        shape = (len(chunk), 1, self._padded(height), self._padded(width))
        batch = np.empty(shape, np.float32)
        marks = [time.perf_counter_ns()]
        for place, index in enumerate(chunk):
            with _naming(index):
                self._standardise(frames[index], batch[place, 0])
            marks.append(time.perf_counter_ns())
        maps = self._run(batch, threshold)
        network_ms = (time.perf_counter_ns() - marks[-1]) / 1e6 / len(chunk)
        found = []
        for place, index in enumerate(chunk):
            begun = time.perf_counter_ns()
            # A copy, so that one result that is kept does not keep the maps of the whole batch.
            given = maps[place, 0, :height, :width].copy()
            targets, probability = self._judged(given, frames[index], threshold)
            extract_ms = (time.perf_counter_ns() - begun) / 1e6
            standardise_ms = (marks[place + 1] - marks[place]) / 1e6
            timing = Timing(standardise_ms, network_ms, extract_ms, standardise_ms + network_ms + extract_ms)
            found.append(
                _detections(
                    targets,
                    (height, width),
                    frame_id=index,
                    threshold=threshold,
                    timing=timing,
                    flags=frames[index].flags,
                    probability=probability,
                )
            )
        return found

    def _standardise(self, frame: CheckedFrame, out: NDArray[np.float32]) -> None:
        pixels = frame.pixels
        if self._dark:
            # Of whole numbers the complement, which is the negative up to an offset and overflows nowhere.
            pixels = np.invert(pixels) if pixels.dtype.kind == "u" else np.negative(pixels)
        try:
            standardise(pixels, stride=self._stride, out=out)
        except ValueError as error:
            raise InputError(str(error)) from error

    @property
    def gives_log_odds(self) -> bool:
        """Whether a threshold may be a `LogOdds`."""
        return self._contexts.give_log_odds

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Run every context once on an empty frame of ``shape`` (H, W)."""
        height, width = (self._padded(side) for side in shape)
        self._contexts.run_each(np.zeros((1, 1, height, width), np.float32))

    def _run(self, frames: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
        """Probabilities; log-odds for a threshold of that kind."""
        probability = self._contexts.run(frames, log_odds=isinstance(threshold, LogOdds))
        if probability.shape != frames.shape or probability.dtype != np.float32:
            raise EngineError(
                f"the engine returned {probability.dtype} {list(probability.shape)}, "
                f"needed is float32 {list(frames.shape)}"
            )
        return probability

    def _judged(
        self, given: NDArray[np.float32], frame: CheckedFrame, threshold: float
    ) -> tuple[Targets, ProbabilityMap]:
        """Targets of one map [H, W] of what `_run` gives for this threshold."""
        if not isinstance(threshold, LogOdds):
            return self._extract(given, frame, threshold), ProbabilityMap(given, threshold)
        from scipy.special import expit

        if not np.isfinite(given).all():
            raise EngineError("the network's output cannot be used: its log-odds are not finite")
        probability: NDArray[np.float32] = expit(given)
        kept = np.where(given > np.float64(threshold.log_odds), probability, np.float32(0))
        # What is left was chosen by its log-odds: the comparison by probability could not tell it apart.
        return self._extract(kept, frame, 0.0), ProbabilityMap(probability, threshold, log_odds=given)

    def _extract(self, probability: NDArray[np.float32], frame: CheckedFrame, threshold: float) -> Targets:
        try:
            return extract_targets(probability, frame.pixels, threshold, max_targets=self._max_targets)
        except ValueError as error:
            # The frame and the threshold were checked before, so only the map can be at fault.
            raise EngineError(f"the network's output cannot be used: {error}") from error

    def _padded(self, length: int) -> int:
        return -(-length // self._stride) * self._stride

    def _buffer(self, height: int, width: int) -> NDArray[np.float32]:
        """Memory of this thread for one standardised frame, so that a stream allocates none."""
        buffer: NDArray[np.float32] | None = getattr(self._local, "buffer", None)
        if buffer is None or buffer.shape != (height, width):
            buffer = np.empty((height, width), np.float32)
            self._local.buffer = buffer
        return buffer

    def close(self) -> None:
        """Close the network after the calls that are running. Calling it twice is fine."""
        self._contexts.close()


def _detections(targets: Targets, shape: tuple[int, int], **values: Any) -> Detections:
    try:
        return Detections.from_targets(targets, shape, **values)
    except InputError as error:
        # Only the map can be at fault here: an engine that returns logits, for instance.
        raise EngineError(f"the network's output cannot be used: {error}") from error


class _naming:
    """Puts the index of the frame in front of an `InputError`."""

    def __init__(self, index: int) -> None:
        self._index = index

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError):
            raise InputError(f"frame {self._index}: {error}") from error
