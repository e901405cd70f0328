# SPDX-License-Identifier: Apache-2.0
"""Many frames through one stream: memory stays flat, handles stay the same, every frame is counted once and in order.

Run: python benchmarks/soak.py --frames 20000
     python benchmarks/soak.py --frames 2592000 --minutes 20 --model none --width 64 --height 48   (a day of 30 fps)

A camera of numbered frames is lost and opened again every ``--lose-every`` frames; results go into a sink, and with
``--full`` through the monitor and the tracker too. ``--model none`` puts a threshold in the place of the network, so
that a day fits into less time: what is looked at is the stream. Prints one JSON object; exit code 1 if memory grows by
more than ``--limit`` bytes a frame (the lower end of the interval), if handles or threads became more, or if a frame is
wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.synthetic import Scene, SceneConfig
from pitviper.sdk.engines import EngineInfo
from pitviper.sdk.reconnect import Reconnect, ReconnectingSource
from pitviper.sdk.sinks import JsonLines
from pitviper.sdk.sources import Frame, FrameTime, Source, SourceInfo

_FPS = 30


class Threshold:
    """An engine without a network: a pixel that stands out by six deviations is a target."""

    info = EngineInfo("threshold", "1", "cpu", "fp32", 1)

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Engine.run`."""
        return np.asarray(1 / (1 + np.exp(np.clip(6 - frames, -30, 30))), np.float32)

    def close(self) -> None:
        """Nothing to let go of."""


class Camera(Source):
    """Numbered frames, the number in the first two pixels; it is lost after every ``lose_every`` frames.

    Args:
        frames: Pictures that are taken in turn.
        numbers: Numbers still to be given; shared by all cameras that follow each other.
        lose_every: Frames between two losses.
    """

    def __init__(self, frames: list[NDArray[np.uint16]], numbers: Iterator[int], lose_every: int) -> None:
        super().__init__(SourceInfo("soak", "soak", fps=_FPS, live=True))
        self._pictures = frames
        self._numbers = numbers
        self._lose_every = lose_every
        # What an opened camera holds; a reconnect that leaks shows in the number of handles.
        self._device = open(os.devnull, "rb")  # noqa: SIM115 - closed with the source

    def _read(self) -> Iterator[Frame]:
        for index in range(self._lose_every):
            number = next(self._numbers, None)
            if number is None:
                return
            picture = self._pictures[number % len(self._pictures)].copy()
            picture[0, 0], picture[0, 1] = divmod(number, 10000)
            yield Frame(picture, index, FrameTime.now(number * 1_000_000_000 // _FPS))
        raise sdk.SourceLost("unplugged, as planned")

    def _release(self) -> None:
        self._device.close()


def numbered(count: int, seconds: float) -> Iterator[int]:
    """The numbers 0 to ``count`` - 1, or as many as come in the time."""
    end = time.monotonic() + seconds
    for number in range(count):
        if time.monotonic() > end:
            return
        yield number


def resident_bytes() -> int:
    """Resident memory of this process (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(
    frames: NDArray[np.float64], values: NDArray[np.float64], seed: int = 0
) -> tuple[float, float, float]:
    """Slope of a line through samples [N], and its 95 % interval by a bootstrap of blocks of residuals.

    Memory moves in steps that last, so neighbouring samples are not independent: blocks of a tenth of them are drawn.
    """
    fit = np.polyfit(frames, values, 1)
    line = np.polyval(fit, frames)
    residuals, block = values - line, max(1, len(values) // 10)
    rng = np.random.default_rng(seed)
    slopes = []
    for _ in range(1000):
        starts = rng.integers(0, len(values) - block + 1, -(-len(values) // block))
        drawn = np.concatenate([residuals[at : at + block] for at in starts])[: len(values)]
        slopes.append(np.polyfit(frames, line + drawn, 1)[0])
    low, high = np.percentile(slopes, (2.5, 97.5))
    return float(fit[0]), float(low), float(high)


def soak(
    detector: sdk.Detector,
    frames: list[NDArray[np.uint16]],
    count: int,
    *,
    seconds: float = 1e9,
    lose_every: int = 10_000,
    full: bool = False,
    samples: int = 400,
) -> dict[str, Any]:
    """Stream ``count`` frames, or as many as come in ``seconds``; memory is judged after the first quarter."""
    numbers = numbered(count, seconds)
    source = ReconnectingSource(
        lambda: Camera(frames, numbers, lose_every), Reconnect(first_s=0.001, longest_s=0.001)
    )
    # Made beforehand: a list that grows would be seen in the memory that it is to watch.
    taken = np.zeros((2 * samples, 4))
    every, due = max(1, min(count, 20_000) // samples), 0.0
    wrong = targets = done = row = 0
    started = time.monotonic()
    parts: dict[str, Any] = {"tracker": sdk.Tracker(), "monitor": sdk.ThermalMonitor()} if full else {}
    with detector.stream(source, mode="all", queue=64, sinks=[JsonLines(os.devnull)], **parts) as stream:
        for expected, found in enumerate(stream):
            assert stream.frame is not None
            pixels = stream.frame.image
            carried = int(pixels[0, 0]) * 10000 + int(pixels[0, 1])
            wrong += not (found.frame_id == carried == expected)
            targets += len(found)
            done = expected + 1
            if expected % every == 0 and time.monotonic() - started >= due and row < len(taken):
                due += seconds / samples if seconds < 1e9 else 0.0
                handles = len(os.listdir("/proc/self/fd"))
                taken[row] = (expected, resident_bytes(), handles, threading.active_count())
                row += 1
        stats = stream.stats
    return {
        "frames": done,
        "wrong": wrong,
        "targets": targets,
        **judged(taken[:row]),
        "stream": stats.to_dict(),
    }


def judged(table: NDArray[np.float64]) -> dict[str, Any]:
    """What the samples [N, 4] (frame, bytes, handles, threads) say; those of the first quarter are warm-up."""
    kept = table[len(table) // 4 :]
    found = slope(kept[:, 0], kept[:, 1])
    return {
        "samples": len(kept),
        "slope_bytes_per_frame": round(found[0], 4),
        "slope_interval_95": [round(found[1], 4), round(found[2], 4)],
        "resident_mib": {
            "start": round(table[0, 1] / 2**20, 2),
            "after_warm_up": round(kept[0, 1] / 2**20, 2),
            "end": round(kept[-1, 1] / 2**20, 2),
            "most": round(table[:, 1].max() / 2**20, 2),
        },
        "handles": [int(kept[:, 2].min()), int(kept[:, 2].max())],
        "threads": [int(kept[:, 3].min()), int(kept[:, 3].max())],
    }


def passed(result: dict[str, Any], limit: float, lose_every: int) -> bool:
    """Whether nothing was lost, doubled or left behind."""
    stream = result["stream"]
    counted = stream["captured"] == stream["processed"] == result["frames"] and not stream["dropped"]
    opened = stream["reconnects"] == result["frames"] // lose_every
    # A camera that is being opened again may be sampled just before or after.
    kept = all(most - least <= 1 for least, most in (result["handles"], result["threads"]))
    flat = bool(result["slope_interval_95"][0] <= limit)
    return counted and opened and kept and flat and result["wrong"] == 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--minutes", type=float, help="stop after so long, whatever --frames says")
    parser.add_argument("--model", default="pit-n", help="a model, or none (default: %(default)s)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--lose-every", type=int, default=10_000, help="frames (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=1.0, help="bytes a frame (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="with the monitor and the tracker")
    parser.add_argument(
        "--record", action="store_true", help="also write benchmarks/results/soak[_full].json"
    )
    args = parser.parse_args()
    scene = Scene(SceneConfig(width=args.width, height=args.height, frames=64))
    settings = (
        {"model": "pit-n", "engine": Threshold()}
        if args.model == "none"
        else {"model": args.model, "engine": args.engine}
    )
    with sdk.Detector(**settings) as detector:
        seconds = 1e9 if args.minutes is None else args.minutes * 60
        found = soak(
            detector,
            [view.frame for view in scene],
            args.frames,
            seconds=seconds,
            lose_every=args.lose_every,
            full=args.full,
        )
        engine = detector.engine_info.to_dict()
    result = {
        "shape": [args.height, args.width],
        "asked": args.frames,
        "hours_at_30_fps": round(found["frames"] / _FPS / 3600, 2),
        **found,
        "engine": engine,
        "model": args.model,
    }
    print(json.dumps(result, indent=2))
    if args.record:
        from record import write_result

        write_result("soak_full" if args.full else "soak", result)
    return 0 if passed(result, args.limit, args.lose_every) else 1


if __name__ == "__main__":
    sys.exit(main())
