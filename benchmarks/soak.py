# SPDX-License-Identifier: Apache-2.0
"""Many frames through one stream: memory must stay flat, and no frame may be lost, doubled or out of order.

Run: python benchmarks/soak.py --frames 20000

Prints one JSON object; exit code 1 if the memory grows by more than ``--limit`` bytes a frame or a frame is wrong.
Each frame carries its number in two pixels of its corner, and the frames of one scene are reused, so that
what is measured is the stream and not the making of scenes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.synthetic import Scene, SceneConfig


def resident_bytes() -> int:
    """Resident memory of this process (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def numbered(frames: list[NDArray[np.uint16]], count: int) -> Iterator[NDArray[np.uint16]]:
    """``count`` frames, the number of each written into two pixels of its corner."""
    for index in range(count):
        frame = frames[index % len(frames)].copy()
        frame[0, 0], frame[0, 1] = index // 10000, index % 10000
        yield frame


def soak(
    detector: sdk.Detector, frames: list[NDArray[np.uint16]], count: int, samples: int = 200
) -> dict[str, Any]:
    """Stream ``count`` frames and fit a line through the memory of the second half.

    Returns:
        ``slope_bytes_per_frame`` and what was counted; ``wrong`` is the number of results whose frame is not the one
        that belongs there.
    """
    every = max(1, count // samples)
    taken: list[tuple[int, int]] = []
    wrong = targets = 0
    with detector.stream(numbered(frames, count), mode="all") as stream:
        for expected, found in enumerate(stream):
            assert stream.frame is not None
            pixels = stream.frame.image
            carried = int(pixels[0, 0]) * 10000 + int(pixels[0, 1])
            wrong += not (found.frame_id == carried == expected)
            targets += len(found)
            if expected % every == 0:
                taken.append((expected, resident_bytes()))
        stats = stream.stats
    half = np.array(taken[len(taken) // 2 :], np.float64)
    slope = np.polyfit(half[:, 0], half[:, 1], 1)[0]
    return {
        "frames": count,
        "shape": list(frames[0].shape),
        "slope_bytes_per_frame": round(float(slope), 3),
        "resident_mib": {
            "start": round(taken[0][1] / 2**20, 1),
            "half": round(half[0, 1] / 2**20, 1),
            "end": round(half[-1, 1] / 2**20, 1),
        },
        "wrong": wrong,
        "targets": targets,
        "stream": stats.to_dict(),
        "engine": detector.engine_info.to_dict(),
        "model": detector.manifest.name,
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--model", default="pit-n")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--limit", type=float, default=50.0, help="bytes a frame (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="also write benchmarks/results/soak.json")
    args = parser.parse_args()
    scene = Scene(SceneConfig(width=args.width, height=args.height, frames=64))
    with sdk.Detector(args.model, engine=args.engine) as detector:
        result = soak(detector, [view.frame for view in scene], args.frames)
    print(json.dumps(result, indent=2))
    if args.record:
        from record import write_result

        write_result("soak", result)
    counted = result["stream"]["processed"] == args.frames and not result["stream"]["dropped"]
    flat = result["slope_bytes_per_frame"] <= args.limit
    return 0 if counted and flat and result["wrong"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
