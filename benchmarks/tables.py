# SPDX-License-Identifier: Apache-2.0
"""Writes every published table from its result file into the pages, between the comments that carry its name.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import budget_table
import contrast
import engines
import fdep_table
import first_masks
import label_drift
import missed
import points_table
import registration
import static_table
import tracking_table
import training_step
import upright
import validation
from markdown_table import markdown_table
from record import RESULTS

Result = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]


def agreement(result: Result) -> str:
    """How far engines and gains are apart."""
    rows = []
    for name, model in result["models"].items():
        engines, gain = model["engines"], model["gain_and_offset"]
        maps = engines["worst_map_difference"]
        rows.append(
            [
                name,
                str(engines["frames"]),
                f"{maps['torch']:.1e}",
                f"{maps['training_form']:.1e}",
                f"{engines['worst_position_difference_px']:.1e} px",
                f"{gain['worst_position_difference_px']:.1e} px",
            ]
        )
    head = ["model", "frames", "map, torch", "map, training form", "target position, torch"]
    head.append("target position after gain and offset")
    return "Largest differences over all frames; the number of targets never differed:\n\n" + markdown_table(
        head, rows
    )


def latency(result: Result) -> str:
    """Milliseconds by stage, and against ACM."""
    stages = ("standardise", "network", "extract", "rest", "total")
    rows = []
    for threads, run in result["threads"].items():
        reference = run["acm_network_alone_ms"]["median"]
        for profile in run["profiles"]:
            times = profile["stages"]
            total = times["total_ms"]
            rows.append(
                [threads, profile["model"]]
                + [f"{times[f'{stage}_ms']['median']:.2f}" for stage in stages]
                + [f"{total['p99']:.2f}", f"{100 * profile['surroundings']:.1f} %"]
                + [f"{total['median'] / reference:.2f}"]
            )
        rows.append([threads, "ACM, network alone", "", f"{reference:.2f}", *[""] * 5, "1"])
    head = ["threads", "model", *stages[:-1], "total, median", "total, p99", "around the network"]
    told = result["conditions"]
    return f"{told['device']}, ONNX Runtime {told['onnxruntime']}, milliseconds:\n\n" + markdown_table(
        [*head, "against the network of ACM"], rows
    )


def target_free(result: Result) -> str:
    """False objects a frame at two thresholds."""
    models = result["models"]
    rows = []
    for data, first in next(iter(models.values())).items():
        cells = []
        for found in models.values():
            at = found[data]["thresholds"]
            cells.append(f"{at['0.5']['objects_per_frame']:.2f} ({at['0.8']['objects_per_frame']:.2f})")
        seen = " (seen in training)" if first.get("seen_in_training") else ""
        rows.append([data + seen, str(first["frames"]), *cells])
    return markdown_table(["frames", "number", *models], rows)


def soak(result: Result) -> str:
    """Memory over a long stream."""
    memory, height, width = result["resident_mib"], *result["shape"]
    low, high = result["slope_interval_95"]
    stream = result["stream"]
    network = (
        "a threshold in the place of the network" if result["model"] == "none" else f"`{result['model']}`"
    )
    return (
        f"{result['frames']:,} frames of {width}x{height} ({result['hours_at_30_fps']} h at 30 frames per second; "
        f"{result['asked']:,} were asked for) through {network}, the camera lost {stream['reconnects']} times: "
        f"resident memory {memory['after_warm_up']} MiB after the first quarter, {memory['end']} at the end; slope "
        f"{result['slope_bytes_per_frame']} bytes a frame (95 % interval {low} to {high}); {result['handles'][0]} to "
        f"{result['handles'][1]} file handles, {result['threads'][0]} to {result['threads'][1]} threads; "
        f"{result['wrong']} frames lost, doubled or out of order."
    )


def normalisation(result: Result) -> str:
    """Definitions of the scale, each value by seed."""
    by_name: dict[str, list[Result]] = {}
    for row in result["rows"]:
        by_name.setdefault(row["definition"], []).append(row["metrics"])
    sets = list(result["rows"][0]["metrics"])
    columns = [(data, key) for data in sets for key in ("iou", "pd")]
    rows = [
        [name, *(" / ".join(f"{100 * m[data][key]:.1f}" for m in found) for data, key in columns)]
        for name, found in by_name.items()
    ]
    head = [f"{data} {'IoU' if key == 'iou' else 'Pd'}" for data, key in columns]
    settings, seeds = result["settings"], len(next(iter(by_name.values())))
    told = f"`{settings['model']}`, {settings['epochs']} epochs, {seeds} seeds, each value by seed:"
    return f"{told}\n\n" + markdown_table(["scale", *head], rows)


TABLES: dict[str, tuple[str, Callable[[Result], str]]] = {
    "validation": ("validation", lambda result: validation.table(result["models"])),
    "agreement": ("validation", agreement),
    "latency": ("latency", latency),
    "target_free": ("target_free", target_free),
    "budget": ("budget", budget_table.markdown),
    "soak": ("soak", soak),
    "normalisation": ("normalisation", normalisation),
    "engines": ("engines", engines.accuracy_table),
    "engines_latency": ("engines_latency", engines.latency_table),
    "fdep": ("fdep", fdep_table.tables),
    "fdep_use": ("fdep_use", fdep_table.use),
    "fdep_published": ("fdep_published", fdep_table.tables),
    "fdep_published_use": ("fdep_published_use", fdep_table.use),
    "fdep_long": ("fdep_long", fdep_table.tables),
    "prior_probe": ("prior_probe", fdep_table.probe),
    "first_masks": ("first_masks", first_masks.table),
    "points": ("points", points_table.markdown),
    "points_alcl": ("points_alcl", points_table.markdown),
    "points_acm": ("points_acm", points_table.markdown),
    "label_drift": ("label_drift", label_drift.markdown),
    "static_triton": ("static_report", static_table.triton),
    "static_cuda": ("static_report", static_table.cuda),
    "static_frames": ("static_report", static_table.frames),
    "frontier": ("frontier", fdep_table.tables),
    "upright": ("upright", upright.table),
    "missed": ("missed", missed.table),
    "contrast": ("contrast", contrast.table),
    "registration": ("registration", registration.table),
    "registration_trained": ("registration", registration.trained_table),
    "tracking_video": ("tracking", tracking_table.video),
    "training_step": ("training_step", training_step.table),
    "tracking_comparison": ("tracking", tracking_table.comparison),
}
"""By the name in the pages: stem of the result file, and what makes the table of it."""

PAGES = (
    "README.md",
    "docs/results.md",
    "docs/train.md",
    "docs/tracking.md",
    "docs/engines.md",
    "docs/kernels.md",
    "docs/points.md",
    "docs/points-results.md",
)


def filled(page: str) -> str:
    """The page's text with every table that has a result file made anew from it."""

    def made(found: re.Match[str]) -> str:
        stem, make = TABLES[found[1]]
        if not (RESULTS / f"{stem}.json").is_file():
            return found[0]
        result = json.loads((RESULTS / f"{stem}.json").read_text())
        return f"<!-- {found[1]} -->\n\n{make(result)}\n\n<!-- end {found[1]} -->"

    return re.sub(r"<!-- (\w+) -->.*?<!-- end \1 -->", made, (ROOT / page).read_text(), flags=re.DOTALL)


def main() -> None:
    for page in PAGES:
        (ROOT / page).write_text(filled(page))
        print(page)


if __name__ == "__main__":
    main()
