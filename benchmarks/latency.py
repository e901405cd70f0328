# SPDX-License-Identifier: Apache-2.0
"""Latency of one 640x512 uint16 frame, stage by stage, beside the network of ACM in the same run.

    python benchmarks/latency.py --threads 1 --threads 2

Runs ``pitviper bench --against acm`` once for each number of threads and records what it prints. Exits with 1 when
the stages around the network cost more than 15 % of a frame, when pit-n whole takes longer than ACM's network, or pit-s
three times as long.
Meaningful on an otherwise idle machine only; the load average is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from record import write_result

from pitviper.sdk.cli import main as pitviper

SURROUNDINGS_LIMIT = 0.15
RATIO_LIMITS = {"pit-n": 1.0, "pit-s": 3.0}
"""pit-m, for whom accuracy counts most, has none."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, action="append", required=True, help="repeatable")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    load = os.getloadavg()
    runs = {str(threads): _bench(threads, options.seconds) for threads in options.threads}
    broken = [f"{threads} threads: {text}" for threads, run in runs.items() for text in limits_broken(run)]
    result = {"load_average_before": load, "threads": runs, "limits_broken": broken}
    print(write_result("latency", result))
    print("\n".join(broken) or "all limits kept")
    return 1 if broken else 0


def limits_broken(run: dict[str, Any]) -> list[str]:
    """Sentences for every limit that a run breaks."""
    reference = run["acm_network_alone_ms"]["median"]
    broken = []
    for profile in run["profiles"]:
        name, total = profile["model"], profile["stages"]["total_ms"]["median"]
        if profile["surroundings"] > SURROUNDINGS_LIMIT:
            broken.append(f"{name} spends {profile['surroundings']:.1%} around its network")
        limit = RATIO_LIMITS.get(name)
        if limit is not None and total > limit * reference:
            broken.append(f"{name} takes {total / reference:.2f} times ACM's network, {limit} allowed")
    return broken


def _bench(threads: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.json"
        command = ["bench", "--against", "acm", "--threads", str(threads), "--seconds", str(seconds)]
        code = pitviper([*command, "--json", str(path)])
        if code:
            raise SystemExit(code)
        result: dict[str, Any] = json.loads(path.read_text())
    return result


if __name__ == "__main__":
    raise SystemExit(main())
