# SPDX-License-Identifier: Apache-2.0
"""CPU time of one training step by model: as it comes, compiled, and compiled with large memory pages.

    python benchmarks/training_step.py

Each cell is a process of its own with one thread, so that a compiler's caches and the allocator's settings, which are
read at start, are its own. The time is that of the process, not of the clock: another job takes its core, not its
seconds, though it does slow the memory down.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from markdown_table import markdown_table
from record import write_result

from pitviper.core.models import create_model
from pitviper.train.config import SupervisedConfig
from pitviper.train.hardware import Hardware, launch
from pitviper.train.optimizer import make_optimizer
from pitviper.train.recipes.supervised import SupervisedTask
from pitviper.train.step import Part, take_step

MODELS = ("pit-n", "pit-s", "pit-m")
LARGE_PAGES = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}
CONDITIONS: dict[str, tuple[bool, dict[str, str]]] = {
    "as it comes": (False, {}),
    "compiled": (True, {}),
    "compiled, large pages": (True, LARGE_PAGES),
}
BATCH, SIDE, WARM_UP, STEPS = 8, 192, 3, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", choices=MODELS, help="time one model in this process and print milliseconds")
    parser.add_argument("--compile", action="store_true", help="with --one: compiled")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, compiled=options.compile)))
        return
    models: dict[str, dict[str, float]] = {model: {} for model in MODELS}
    for name, (compiled, settings) in CONDITIONS.items():
        for model, cells in models.items():
            cells[name] = _in_a_process(model, compiled, settings)
            print(model, name, cells[name], flush=True)
    settings = {"batch": BATCH, "crop": SIDE, "precision": "bf16-mixed", "threads": 1, "steps": STEPS}
    result = {"settings": settings, "large_pages": LARGE_PAGES, "ms_per_crop": models}
    print(write_result("training_step", result))
    print(table(result))


def _in_a_process(model: str, compiled: bool, settings: dict[str, str]) -> float:
    command = [sys.executable, __file__, "--one", model, *(["--compile"] if compiled else [])]
    env = os.environ | {"OMP_NUM_THREADS": "1"} | settings
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measure(model: str, *, compiled: bool) -> float:
    """Median CPU milliseconds per crop of a step: forward, backward and optimiser."""
    fabric = launch(Hardware("cpu", "1", threads=1, compile=compiled), seed=0)
    config = SupervisedConfig(model=model, batch=BATCH, optimizer="muon", crops=((1.0, SIDE),))
    task = SupervisedTask(create_model(model).to(memory_format=torch.channels_last), config)
    optimizer = make_optimizer(task, config)
    if compiled:
        task.compile()
    wrapped, optimizer = fabric.setup(task, optimizer)
    images = torch.randn(BATCH, 1, SIDE, SIDE)
    masks = (torch.rand(BATCH, 1, SIDE, SIDE) > 0.999).float()
    part = Part(("noise",) * BATCH, images, masks)
    times = []
    for _ in range(WARM_UP + STEPS):
        start = time.process_time()
        take_step(fabric, wrapped, optimizer, [part], clip=config.clip)
        times.append(time.process_time() - start)
    return round(1e3 * statistics.median(times[WARM_UP:]) / BATCH, 1)


def table(result: dict[str, Any]) -> str:
    """Milliseconds of CPU per crop."""
    found = result["ms_per_crop"]
    rows = [[model, *(f"{cells[name]:.1f}" for name in CONDITIONS)] for model, cells in found.items()]
    return markdown_table(["model", *CONDITIONS], rows)


if __name__ == "__main__":
    main()
