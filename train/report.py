# SPDX-License-Identifier: Apache-2.0
"""The report of a finished run: how training went, and the full evaluation of its val splits on one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from safetensors import safe_open

from pitviper.core.datasets import Dataset, DatasetError
from pitviper.core.evaluation import Evaluation, evaluate
from pitviper.core.models import DetectorNetwork
from pitviper.core.report import write_report
from pitviper.train.config import DetectorConfig, stored_config
from pitviper.train.history_plot import plot_history
from pitviper.train.run import BEST, load_main_branch, load_run, open_splits
from pitviper.train.validate import predictor


def report_run(folder: Path, output: Path, which: str = "best", *, branch: str = "light") -> Path:
    """Evaluate the kept weights of a run on its val splits and write ``report.html`` with its pictures.

    Args:
        folder: Finished run folder.
        output: Folder to make; files of an earlier report in it are overwritten.
        which: ``"best"`` (chosen on the val splits) or ``"last"``.
        branch: ``"light"``, the network that is kept, or ``"main"`` of an FDEP run, of which only the last is kept.

    Returns:
        Path of ``report.html``. Beside it lie ``training.png`` and what ``core.report.write_report`` writes.

    Raises:
        ValueError: ``branch`` "main" of a run that has none, or with ``which`` "best".
        FileNotFoundError: The run is not finished, or kept no such weights.
        DatasetError: The run has no val split, or its data is no longer where it was.
        MissingMatplotlib: matplotlib is not installed.
    """
    if branch == "main" and which != "last":
        raise ValueError("of the main branch only the last epoch is kept; add --weights last")
    network, summary = load_main_branch(folder) if branch == "main" else load_run(folder, which)
    config = stored_config(summary)
    val_sets = open_splits(config.data)[1]
    if not val_sets:
        raise DatasetError(f"{folder}: the run has no val split to report on; its curves are in tensorboard/")
    epoch = _best_epoch(folder) if which == "best" else config.epochs
    # Drawn before the evaluation, which takes minutes: a missing matplotlib is told at once.
    curves = plot_history(summary["history"], config, chosen=epoch)
    evaluations = {f"{d.name} {d.split}": _evaluate(network, d) for d in val_sets}
    page = write_report(
        evaluations,
        output,
        title=f"{config.model}: training run {folder.resolve().name}",
        facts=_recipe_facts(summary, branch)
        | _facts(network, config, summary, f"{which}, epoch {epoch} of {config.epochs}")
        | {f"SHA-256 of {d.name} {d.split}": d.split_sha256 for d in val_sets},
        figures={"Training": curves},
    ).page
    (output / "training.png").write_bytes(curves)
    return page


def _best_epoch(folder: Path) -> int:
    with safe_open(folder / BEST, framework="pt") as file:
        return int(file.metadata()["epoch"])


def _evaluate(network: DetectorNetwork, dataset: Dataset) -> Evaluation:
    print(f"evaluating {dataset.name} {dataset.split}: {len(dataset)} frames", file=sys.stderr, flush=True)
    return evaluate(predictor(network), dataset.samples)


def _facts(
    network: DetectorNetwork, config: DetectorConfig, summary: dict[str, Any], weights: str
) -> dict[str, str]:
    parameters = sum(p.numel() for p in network.parameters())
    sides = [f"{side} px" for _, side in config.crops]
    until = [f" to {share:.0%} of the run" if share < 1 else "" for share, _ in config.crops]
    crops = ", ".join(side + end for side, end in zip(sides, until, strict=True))
    sets = [f"{s['name']} {s['split']} ({s['frames']} frames)" for s in summary["data"]]
    if config.synthetic:
        sets.append(f"{config.synthetic} synthetic frames")
    return {
        "Model": f"{config.model}, {parameters:,} parameters in training form",
        "Weights": weights,
        "Trained on": ", ".join(sets),
        "Settings": f"{config.epochs} epochs, batch {config.batch}, {config.optimizer} lr {config.lr:g} with cosine, "
        f"EMA {config.ema:g}, crops of {crops}, seed {config.seed}",
    }


def _recipe_facts(summary: dict[str, Any], branch: str) -> dict[str, str]:
    if "vfm" not in summary:
        return {}
    vfm = summary["vfm"]
    levels = ", ".join(str(level) for level in vfm["levels"])
    return {"Recipe": f"fdep with {vfm['name']}, levels {levels}; {branch} branch"}
