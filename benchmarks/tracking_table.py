# SPDX-License-Identifier: Apache-2.0
"""The tables of ``tracking.py`` for the pages."""

from __future__ import annotations

from typing import Any


def video(result: dict[str, Any]) -> str:
    """Tracks of the real video by rule of confirmation."""
    told = result["video"]
    lines = [
        "| confirmed by | frames on its one track | other tracks a minute | their detections a minute |",
        "| --- | --- | --- | --- |",
    ]
    for rule, row in told["confirm"].items():
        share = 100 * row["longest_track"]["share_of_frames"]
        others = row["other_detections_per_minute"]["on_tracks"]
        lines.append(f"| {rule} | {share:.1f} % | {row['other_tracks_per_minute']:g} | {others} |")
    everything = next(iter(told["confirm"].values()))["other_detections_per_minute"]["all"]
    head = f"{told['frames']} frames, {told['detections']} detections, {everything} a minute of them not the target's:"
    return "\n".join([head, "", *lines])


def comparison(result: dict[str, Any]) -> str:
    """MOTA and IDF1 beside ByteTrack."""
    rows = {**result["simulated"], **{f"scene, {name}": row for name, row in result["scenes"].items()}}
    names = list(next(iter(rows.values())))
    lines = [f"| MOTA / IDF1 / switches | {' | '.join(names)} |", f"|{' --- |' * (1 + len(names))}"]
    for kind, row in rows.items():
        cells = [
            f"{100 * row[n]['mota']:.1f} / {100 * row[n]['idf1']:.1f} / {row[n]['num_switches']}"
            for n in names
        ]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    versions = result["judged"]["versions"]
    told = f"motmetrics {versions['motmetrics']}, supervision {versions['supervision']}:"
    return "\n".join([told, "", *lines])
