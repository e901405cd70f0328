# SPDX-License-Identifier: Apache-2.0
"""What the tracker does: to false alarms in a real video, and on synthetic targets beside ByteTrack of Supervision.

    pitviper detect VIDEO --json detections.jsonl
    python benchmarks/tracking.py --detections detections.jsonl

Needs motmetrics (MIT) and a version of supervision (MIT) that has ByteTrack, such as 0.27; neither is needed to track.
All trackers get the same detections, and what is judged is which id each detection gets: a coasting track's position
counts for nobody.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_result

from pitviper.core.synthetic import CLUTTERS, Scene, SceneConfig
from pitviper.sdk import Detections, Detector, Tracker
from pitviper.sdk.sources import FrameTime
from pitviper.sdk.tracking import SupervisionTracker

FPS = 30.0
REACH_PX = 4.0
PAD_PX = 8.0
RULES = ((1, 1), (2, 3), (3, 5), (4, 6), (8, 12))
SPEEDS = (0.5, 2.0, 5.0)
Points = NDArray[np.float64]
Sequence = list[tuple[Points, NDArray[np.int64], Detections]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--detections", type=Path, help="JSON lines of pitviper detect on a video of one target"
    )
    parser.add_argument("--model", default="pit-n", help="detector for the synthetic scenes")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    if options.detections:
        result["video"] = video(list(read(options.detections)))
    result["simulated"] = {
        f"{kind}, {speed:g} px/frame": compare([simulate(kind, speed, seed) for seed in range(5)])
        for kind in ("crossings", "clutter")
        for speed in SPEEDS
    }
    with Detector(options.model, threads=options.threads) as detector:
        result["scenes"] = {clutter: compare([detected(detector, clutter)]) for clutter in CLUTTERS}
    result["detector_of_scenes"] = options.model
    result["judged"] = {"reach_px": REACH_PX, "fps": FPS, "versions": versions()}
    print(json.dumps(result, indent=1))
    print(write_result("tracking", result))


def read(path: Path) -> Iterator[Detections]:
    """Results of ``pitviper detect --json``."""
    for line in path.read_text().splitlines():
        row = json.loads(line)
        targets = row["targets"]
        arrays: dict[str, Any] = {
            name: [t[name] for t in targets] for name in ("xyxy", "score", "mean", "area_px", "class_id")
        }
        arrays["snr"] = [np.nan if t["snr"] is None else t["snr"] for t in targets]
        arrays["xy"] = np.array([[t["x"], t["y"]] for t in targets]).reshape(-1, 2)
        arrays["xyxy"] = np.array(arrays["xyxy"]).reshape(-1, 4)
        yield Detections(
            **arrays, shape=tuple(row["shape"]), frame_id=row["frame_id"], time=FrameTime(**row["time"])
        )


def video(frames: list[Detections]) -> dict[str, Any]:
    """The longest track, and all others, for several rules of confirmation.

    The target is on one track if that track's share of the frames is 1. The others are not all false: without labels,
    birds count with cloud edges.
    """
    stamps = [frame.time.sensor_ns for frame in frames if frame.time and frame.time.sensor_ns is not None]
    minutes = (stamps[-1] - stamps[0]) / 60e9
    rules = {f"{m} of {n}": _followed(frames, (m, n), minutes) for m, n in RULES}
    return {
        "frames": len(frames),
        "minutes": round(minutes, 3),
        "detections": sum(map(len, frames)),
        "confirm": rules,
    }


def _followed(frames: list[Detections], confirm: tuple[int, int], minutes: float) -> dict[str, Any]:
    tracker = Tracker(confirm=confirm)
    states: dict[int, list[str]] = defaultdict(list)
    alone = 0
    began = time.process_time()
    results = [tracker.update(frame) for frame in frames]
    spent = time.process_time() - began
    for found in results:
        for track in found.tracks or ():
            states[track.id].append(track.state)
    longest = max(states, key=lambda number: len(states[number]))
    for found in results:
        alone += int(((found.track_id >= 0) & (found.track_id != longest)).sum())
    held = states.pop(longest)
    every = sum(map(len, frames)) - sum(int((found.track_id == longest).sum()) for found in results)
    return {
        "longest_track": {
            "share_of_frames": round(len(held) / len(frames), 4),
            "coasting_frames": held.count("coasting"),
        },
        "other_tracks_per_minute": round(len(states) / minutes, 1),
        "other_detections_per_minute": {"all": round(every / minutes), "on_tracks": round(alone / minutes)},
        "cpu_ms_per_frame": round(1e3 * spent / len(frames), 3),
    }


def simulate(kind: str, speed: float, seed: int, frames: int = 150) -> Sequence:
    """Points and boxes of 3 x 3 pixels: detected with probability 0.9, off by 0.2 px, among 1 or 5 false alarms.

    ``crossings``: five pairs that cross at right angles. Targets closer than 2 px are one detection.
    ``clutter``: five targets that weave, and 5 false alarms per frame.
    """
    rng = np.random.default_rng([seed, int(10 * speed)])
    size = np.array([640.0, 512.0])
    middle = rng.uniform(0.3, 0.7, (5, 2)) * size
    heading = rng.uniform(0, 2 * np.pi, 5)
    if kind == "crossings":
        middle, heading = np.repeat(middle, 2, axis=0), np.repeat(heading, 2)
        heading[1::2] += np.pi / 2
    moment = rng.uniform(0.3, 0.7, len(middle)) * frames
    if kind == "crossings":
        moment[1::2] = moment[::2]
    direction = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    sequence: Sequence = []
    for number in range(frames):
        along = speed * (number - moment)[:, None] * direction
        sway = 3 * np.sin(2 * np.pi * number / 60 + heading)[:, None] * direction[:, ::-1] * (1, -1)
        truth = middle + along + (sway if kind == "clutter" else 0)
        inside = ((truth > 0) & (truth < size)).all(axis=1)
        ids = np.flatnonzero(inside)
        seen = _merged(truth[inside])
        seen = seen[rng.random(len(seen)) < 0.9]
        false = rng.uniform(0, 1, (rng.poisson(5 if kind == "clutter" else 1), 2)) * size
        points = np.concatenate([seen + rng.normal(0, 0.2, seen.shape), false])
        sequence.append((truth[inside], ids, _boxes(points, number)))
    return sequence


def _merged(points: Points) -> Points:
    left, merged = list(points), []
    while left:
        first = left.pop()
        near = [index for index, other in enumerate(left) if np.hypot(*(other - first)) < 2]
        merged.append(np.mean([first, *(left.pop(index) for index in reversed(near))], axis=0))
    return np.array(merged).reshape(-1, 2)


def _boxes(points: Points, number: int) -> Detections:
    count, whole = len(points), np.floor(points)
    return Detections(
        xy=points,
        xyxy=np.concatenate([whole - 1, whole + 2], axis=1),
        score=np.full(count, 0.95),
        mean=np.full(count, 0.9),
        area_px=np.full(count, 9),
        snr=np.full(count, 10.0),
        shape=(512, 640),
        frame_id=number,
    )


def detected(detector: Detector, clutter: str, frames: int = 150) -> Sequence:
    """What the detector finds in a synthetic scene of ten small targets."""
    config = SceneConfig(
        clutter=clutter, frames=frames, seed=11, targets=10, size_px=(1, 12), snr=(6, 20), speed_px=(0.3, 4.0)
    )
    sequence: Sequence = []
    for view in Scene(config):
        found = replace(detector.detect(view.frame), frame_id=view.index)
        sequence.append((view.targets, view.ids.astype(np.int64), found))
    return sequence


def trackers() -> dict[str, Callable[[], Any]]:
    """A fresh tracker by name; every one that confirms does so after three frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import supervision

    def bytetrack() -> SupervisionTracker:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SupervisionTracker(
                supervision.ByteTrack(frame_rate=int(FPS), lost_track_buffer=15, minimum_consecutive_frames=3)
            )

    return {
        "pitviper": lambda: Tracker(clock=FPS),
        "bytetrack": bytetrack,
        f"bytetrack, boxes {PAD_PX:g} px wider on each side": lambda: Padded(bytetrack()),
    }


class Padded:
    """Boxes made wider before they are matched: what people do to make small ones overlap."""

    def __init__(self, tracker: SupervisionTracker) -> None:
        self._tracker = tracker

    def update(self, detections: Detections) -> Detections:
        wide = detections.xyxy + np.array([-PAD_PX, -PAD_PX, PAD_PX, PAD_PX], np.float32)
        found = self._tracker.update(replace(detections, xyxy=wide))
        return replace(detections, track_id=found.track_id)


def compare(sequences: list[Sequence]) -> dict[str, Any]:
    """MOTA and IDF1 of each tracker over all sequences, with the counts they come from."""
    return {name: judge(sequences, make) for name, make in trackers().items()}


def judge(sequences: list[Sequence], make: Callable[[], Any]) -> dict[str, Any]:
    """Matches within 4 pixels of the truth, by motmetrics."""
    import motmetrics

    books = []
    for sequence in sequences:
        tracker, book = make(), motmetrics.MOTAccumulator(auto_id=True)
        for truth, ids, detections in sequence:
            found = tracker.update(detections)
            kept = found[found.track_id >= 0]
            distance = ((truth[:, None] - kept.xy[None]) ** 2).sum(axis=2)
            distance[distance > REACH_PX**2] = np.nan
            book.update(ids, kept.track_id, distance)
        books.append(book)
    names = ["mota", "idf1", "num_switches", "num_false_positives", "num_misses", "num_objects"]
    table = motmetrics.metrics.create().compute_many(books, metrics=names, generate_overall=True)
    row = table.loc["OVERALL"]
    counts = {name: int(row[name]) for name in names[2:]}
    return {"mota": round(float(row["mota"]), 4), "idf1": round(float(row["idf1"]), 4), **counts}


def versions() -> dict[str, str]:
    """Packages that only this comparison needs."""
    import motmetrics
    import supervision

    return {"motmetrics": motmetrics.__version__, "supervision": supervision.__version__}


if __name__ == "__main__":
    main()
