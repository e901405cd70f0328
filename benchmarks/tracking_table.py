# SPDX-License-Identifier: Apache-2.0
"""The tables of ``tracking.py`` for the pages."""

from __future__ import annotations

from typing import Any

from markdown_table import markdown_table


def video(result: dict[str, Any]) -> str:
    """Tracks of the real video by rule of confirmation."""
    told = result["video"]
    columns = [
        "confirmed by",
        "frames on its one track",
        "other tracks a minute",
        "their detections a minute",
    ]
    lines = []
    for rule, row in told["confirm"].items():
        share = 100 * row["longest_track"]["share_of_frames"]
        others = row["other_detections_per_minute"]["on_tracks"]
        lines.append([rule, f"{share:.1f} %", f"{row['other_tracks_per_minute']:g}", f"{others}"])
    everything = next(iter(told["confirm"].values()))["other_detections_per_minute"]["all"]
    head = f"{told['frames']} frames, {told['detections']} detections, {everything} a minute of them not the target's:"
    return f"{head}\n\n{markdown_table(columns, lines)}"


def comparison(result: dict[str, Any]) -> str:
    """MOTA and IDF1 beside ByteTrack."""
    rows = {**result["simulated"], **{f"scene, {name}": row for name, row in result["scenes"].items()}}
    names = list(next(iter(rows.values())))
    lines = []
    for kind, row in rows.items():
        cells = [
            f"{100 * row[n]['mota']:.1f} / {100 * row[n]['idf1']:.1f} / {row[n]['num_switches']}"
            for n in names
        ]
        lines.append([kind, *cells])
    versions = result["judged"]["versions"]
    told = f"motmetrics {versions['motmetrics']}, supervision {versions['supervision']}:"
    return f"{told}\n\n" + markdown_table(["MOTA / IDF1 / switches", *names], lines)
