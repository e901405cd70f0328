# SPDX-License-Identifier: Apache-2.0
"""Which definition of `standardise`: the same short training with several scales, judged on the validation splits.

    python benchmarks/normalisation.py --data NUAA-SIRST --data NUDT-SIRST --epochs 30 --seeds 2

Every definition but ``constants`` (the data sets' own mean and deviation, for reference) is gain- and offset-invariant.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from record import write_result
from short_training import train_short

from pitviper.core.models import create_model
from pitviper.kernels.standardise.reference import box_mean
from pitviper.train.config import SupervisedConfig
from pitviper.train.validate import Metrics

Frame = NDArray[Any]


def scaled(residual: float, deviation: float) -> Callable[[Frame], NDArray[np.float32]]:
    """(x - mean) / (residual * std(x - box5(x)) + deviation * std(x))."""

    def normalise(frame: Frame) -> NDArray[np.float32]:
        centred = frame.astype(np.float64) - frame.mean()
        scale = residual * (centred - box_mean(centred)).std() + deviation * centred.std()
        return (centred / scale if scale else centred * 0).astype(np.float32)

    return normalise


def constants(frame: Frame) -> NDArray[np.float32]:
    """(x - 107) / 33.3: the middle of the two data sets' published constants; not invariant."""
    return ((frame.astype(np.float32) - 107.0) / 33.3).astype(np.float32)


DEFINITIONS = {
    "residual 2, deviation 0.1": scaled(2.0, 0.1),
    "residual 0, deviation 1 (global)": scaled(0.0, 1.0),
    "data-set constants": constants,
    "residual 2, deviation 0": scaled(2.0, 0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--model", default="pit-n")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = {"model": options.model, "epochs": options.epochs, "crop": 128}
    settings |= {"optimizer": "adamw", "lr": 1.5e-3}
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for name, normalise in DEFINITIONS.items():
            metrics = _train(options, normalise, seed)
            rows.append({"definition": name, "seed": seed, "metrics": metrics})
            print(name, seed, {k: round(100 * m["iou"], 2) for k, m in metrics.items()}, flush=True)
        # After every seed, so that an interrupted run leaves whole comparisons.
        print(write_result("normalisation", {"settings": settings, "rows": rows}))


def _train(
    options: argparse.Namespace, normalise: Callable[[Frame], NDArray[np.float32]], seed: int
) -> Metrics:
    config = SupervisedConfig(
        model=options.model,
        data=tuple(Path(d).name for d in options.data),
        epochs=options.epochs,
        crops=((1.0, 128),),
        target_share=0.6,
        lr=1.5e-3,
        ema=0.99,
        keep=0.1,
        validate_every=options.epochs,
        seed=seed,
    )
    torch.manual_seed(seed)
    return train_short(create_model(options.model), config, options.data, normalise=normalise)[0]


if __name__ == "__main__":
    main()
