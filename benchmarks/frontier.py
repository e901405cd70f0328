# SPDX-License-Identifier: Apache-2.0
"""What pays in PitNet: the same short training with one thing changed at a time, judged on the validation splits.

    python benchmarks/frontier.py --data NUAA-SIRST --data NUDT-SIRST --seeds 3

Ranks single changes; the values themselves are those of a short training and far below a long one's.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from frontier_table import BASE, summarise
from record import RESULTS, write_result
from short_training import train_short

from pitviper.core.models import create_model
from pitviper.core.models.complexity import complexity
from pitviper.train.config import SupervisedConfig


@dataclass(frozen=True)
class Variant:
    """What differs from the base: settings of the network, settings of the training."""

    network: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


FULL = {"widths": (16, 32, 48, 64, 64), "stem": 1, "decoder": (1, 1, 1, 1), "packed": False}
MUON = {"optimizer": "muon", "lr": 3e-3}
VARIANTS = {
    BASE: Variant(),
    "16 channels at full resolution": Variant(FULL),
    "Muon, lr 3e-3": Variant(training=MUON),
    "both": Variant(FULL, MUON),
    "both, lr 8e-3": Variant(FULL, MUON | {"lr": 8e-3}),
    "both, batch 8": Variant(FULL, MUON | {"batch": 8}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--model", default="pit-s")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = {"model": options.model, "epochs": options.epochs, "crop": 128}
    path = RESULTS / "frontier.json"
    earlier = json.loads(path.read_text()) if path.is_file() else {}
    rows: list[dict[str, Any]] = earlier.get("rows", []) if earlier.get("settings") == settings else []
    done = {(row["variant"], row["seed"]) for row in rows}
    for seed in range(options.seeds):
        for name in options.variants:
            if (name, seed) in done:
                continue
            rows.append(_row(options, name, seed))
            print(rows[-1], flush=True)
            print(write_result("frontier", {"settings": settings, "rows": rows, "table": summarise(rows)}))


def _row(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    variant = VARIANTS[name]
    config = SupervisedConfig(
        model=options.model,
        data=tuple(Path(d).name for d in options.data),
        epochs=options.epochs,
        crops=((1.0, 128),),
        ema=0.99,
        validate_every=options.epochs,
        seed=seed,
        **variant.training,
    )
    torch.manual_seed(seed)
    network = create_model(options.model, **variant.network)
    started = time.perf_counter()
    metrics, loss = train_short(network, config, options.data)
    return {
        "variant": name,
        "seed": seed,
        "gmac_256x256": complexity(network)["gmac_256x256"],
        "training_seconds": round(time.perf_counter() - started, 1),
        "loss": loss,
        "metrics": metrics,
    }


if __name__ == "__main__":
    main()
