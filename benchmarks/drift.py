# SPDX-License-Identifier: Apache-2.0
"""What the drift watch costs beside the detector, on frames of 640 x 512.

Run: python benchmarks/drift.py [--record]

Both are timed in turns on the same frames, in the processor time of this process, so that a busy machine slows both.
Prints one JSON object; exit code 1 if the watch takes more than 5 % of the detector's time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np

from pitviper import sdk
from pitviper.core.synthetic import Scene, SceneConfig
from pitviper.sdk.drift import EVERY, DriftWatch


def measure(detector: sdk.Detector, frames: int) -> dict[str, Any]:
    """Milliseconds per frame of both, in the mean: seven of eight frames cost the watch nothing."""
    scene = Scene(SceneConfig(width=640, height=512, frames=EVERY))
    pictures = [view.frame for view in scene]
    watch = DriftWatch()
    detector.detect(pictures[0])
    detecting, watching = [], []
    for index in range(frames):
        picture = pictures[index % len(pictures)]
        started = time.process_time_ns()
        found = detector.detect(picture)
        between = time.process_time_ns()
        watch.see(picture)
        watch.rate(found)
        watching.append((time.process_time_ns() - between) / 1e6)
        detecting.append((between - started) / 1e6)
    look = float(np.median(watching[::EVERY]))
    mean = float(np.mean(watching))
    return {
        "shape": [512, 640],
        "frames": frames,
        "model": detector.manifest.name,
        "engine": detector.engine_info.to_dict(),
        "detect_cpu_ms_median": round(float(np.median(detecting)), 3),
        "look_cpu_ms_median": round(look, 3),
        "watch_cpu_ms_per_frame": round(mean, 4),
        "share_of_detect_percent": round(100 * mean / float(np.mean(detecting)), 3),
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=160)
    parser.add_argument("--model", default="pit-n")
    parser.add_argument("--record", action="store_true", help="also write benchmarks/results/drift.json")
    args = parser.parse_args()
    with sdk.Detector(args.model, threads=1) as detector:
        result = measure(detector, args.frames)
    print(json.dumps(result, indent=2))
    if args.record:
        from record import write_result

        write_result("drift", result)
    return 0 if result["share_of_detect_percent"] < 5.0 else 1


if __name__ == "__main__":
    sys.exit(main())
