# SPDX-License-Identifier: Apache-2.0
"""The thermal monitor: its time beside the detector's, and how often it flags frames without a fault.

    python benchmarks/thermal.py --video VIDEO

Times are processor times of one thread, taken in turns in one run. False flags are counted on synthetic scenes of every
clutter, none of which holds a fault, and shown for the given videos, about which nothing is known.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from typing import Any

import numpy as np
from record import write_result

from pitviper.core.synthetic import CLUTTERS, Scene, SceneConfig
from pitviper.sdk import Detector, ThermalMonitor
from pitviper.sdk.cameras import CAMERAS
from pitviper.sdk.sources import open_source
from pitviper.sdk.stream_stats import Spread

SHAPE = (512, 640)
SMALL = (128, 160)
SCENES = ({}, {"contrast": 3.0, "noise_counts": 1.5}, {"contrast": 0.3, "noise_counts": 8.0})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", action="append", default=[], help="also watch this one; repeatable")
    parser.add_argument("--seeds", type=int, default=6, help="scenes of each kind (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=256, help="frames of each scene (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="timed frames (default: %(default)s)")
    options = parser.parse_args()
    load = os.getloadavg()
    result = {
        "load_average": [round(each, 2) for each in load],
        "times": {name: times(name, options.rounds) for name in ("pit-s", "pit-n")},
        "clean": clean(options.seeds, options.frames),
        "videos": {os.path.basename(path): watch(path) for path in options.video},
        "cameras_not_verified": {name: list(each.unverified) for name, each in CAMERAS.items()},
    }
    print(result)
    print(write_result("thermal", result))


def times(model: str, rounds: int) -> dict[str, Any]:
    """Processor time of the monitor and of the whole detector on the same 640x512 frames, in turns, in milliseconds."""
    config = SceneConfig(width=SHAPE[1], height=SHAPE[0], frames=8, clutter="cloud")
    frames = [view.frame for view in Scene(config)]
    monitor = ThermalMonitor()
    watching, detecting = [], []
    with Detector(model, threads=1, warmup=SHAPE) as detector:
        for index in range(rounds):
            frame = frames[index % len(frames)]
            marks = [time.thread_time()]
            monitor.observe(frame)
            marks.append(time.thread_time())
            detector.detect(frame)
            marks.append(time.thread_time())
            watching.append(1e3 * (marks[1] - marks[0]))
            detecting.append(1e3 * (marks[2] - marks[1]))
    return {
        "monitor_cpu_ms": Spread.of(watching).to_dict(),
        "detect_cpu_ms": Spread.of(detecting).to_dict(),
        "monitor_over_detect": round(float(np.median(watching) / np.median(detecting)), 4),
    }


def clean(seeds: int, frames: int) -> dict[str, Any]:
    """Flags and bad pixels in scenes that hold no fault."""
    flags: Counter[str] = Counter()
    seen = bad = pixels = 0
    for clutter in CLUTTERS:
        for values in SCENES:
            for seed in range(seeds):
                config = SceneConfig(
                    width=SMALL[1], height=SMALL[0], frames=frames, seed=seed, clutter=clutter, **values
                )
                monitor = ThermalMonitor()
                for view in Scene(config):
                    monitor.observe(view.frame)
                stats = monitor.stats
                flags.update(stats.flags)
                seen, bad, pixels = seen + stats.frames, bad + stats.bad_px, pixels + SMALL[0] * SMALL[1]
    raised = sum(flags.values())
    return {
        "frames": seen,
        "flags": dict(flags),
        "flags_per_frame": raised / seen,
        # With no flag in n frames, 3 / n is not exceeded at 95 % if frames are independent.
        "flags_per_frame_at_most": 3.0 / seen if raised == 0 else None,
        "pixels_judged": pixels if frames >= 256 else 0,
        "false_bad_pixels": bad,
    }


def watch(path: str) -> dict[str, Any]:
    monitor = ThermalMonitor()
    with open_source(path) as source:
        for frame in source:
            monitor.observe(frame.image, frame.flags)
    stats = monitor.stats
    return {"frames": stats.frames, "flags": dict(stats.flags), "bad_pixels": stats.bad_px}


if __name__ == "__main__":
    main()
