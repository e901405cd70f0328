# SPDX-License-Identifier: Apache-2.0
"""The report of a finished run: how training went, and the full evaluation of its val splits on one page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from pitviper.core.datasets import Dataset, DatasetError
from pitviper.core.evaluation import Evaluation, evaluate
from pitviper.core.models import DetectorNetwork, create_model
from pitviper.core.report import write_report
from pitviper.core.report.plots import COLOURS
from pitviper.train.clusters.weights_plot import plot_weights
from pitviper.train.config import DetectorConfig, recipe_of, stored_config
from pitviper.train.data.splits import judged_splits
from pitviper.train.history_plot import plot_history
from pitviper.train.point_config import SemanticPriorsConfig
from pitviper.train.run import BEST, EVOLUTION, EVOLUTION_MOVING, load_main_branch, load_run
from pitviper.train.validate import predictor

_OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}


_STUDENT_AND_TEACHER = {"light": "student", "main": "teacher"}
"""What the branches of `semantic_priors` are called."""


def report_run(
    folder: Path, output: Path, which: str = "best", *, branch: str = "light", moved: Iterable[str] = ()
) -> Path:
    """Evaluate the kept weights of a run on its val splits and write ``report.html`` with its pictures.

    Args:
        folder: Finished run folder.
        output: Folder to make; files of an earlier report in it are overwritten.
        which: ``"best"`` (chosen on the val splits) or ``"last"``.
        branch: ``"light"``, the network that is kept, or of an FDEP run, with ``which`` "last", ``"main"`` or
            ``"both"`` side by side.
        moved: Data sets of the run that lie elsewhere by now, as in ``judged_splits``.

    Returns:
        Path of ``report.html``. Beside it lie ``training.png`` and what ``core.report.write_report`` writes.

    Raises:
        ValueError: ``branch`` "main" or "both" of a run that has no main branch, or with ``which`` "best", or "both"
            with more sets than the page can show.
        FileNotFoundError: The run is not finished, or kept no such weights.
        DatasetError: The run has no val split, its data is not there, or its val splits have changed since.
        MissingMatplotlib: matplotlib is not installed.
    """
    if branch != "light" and which != "last":
        raise ValueError("of the main branch only the last epoch is kept; add --weights last")
    networks, summary = _branches(folder, which, branch)
    config = stored_config(summary)
    named = _STUDENT_AND_TEACHER if isinstance(config, SemanticPriorsConfig) else {}
    val_sets = judged_splits(config.data, summary["validation"], moved=moved)
    if not val_sets:
        raise DatasetError(f"{folder}: the run has no val split to report on; its curves are in tensorboard/")
    if len(networks) * len(val_sets) > len(COLOURS):
        raise ValueError(
            f"{len(val_sets)} sets of {len(networks)} branches do not fit on one page of {len(COLOURS)}; "
            + (
                "take --branch light or main"
                if len(networks) > 1
                else "package the run, whose manifest has them all"
            )
        )
    epoch = None if "average" in summary else _best_epoch(folder) if which == "best" else config.epochs
    # Drawn before the evaluation, which takes minutes: a missing matplotlib is told at once.
    curves = plot_history(summary["history"], config, chosen=epoch)
    evaluations = {
        f"{d.name} {d.split}" + (f", {named.get(name, name)}" if len(networks) > 1 else ""): _evaluate(
            network, d
        )
        for d in val_sets
        for name, network in networks.items()
    }
    page = write_report(
        evaluations,
        output,
        title=f"{config.model}: training run {folder.resolve().name}",
        facts=_recipe_facts(summary, branch, named)
        | _facts(config, summary, _weights_told(summary, which, epoch))
        | {f"SHA-256 of {d.name} {d.split}": d.split_sha256 for d in val_sets},
        figures={"Training": curves} | _companion_figures(folder, summary),
    ).page
    (output / "training.png").write_bytes(curves)
    return page


def _companion_figures(folder: Path, summary: dict[str, Any]) -> dict[str, bytes]:
    """What a run from points left to look at: labels over the run, and the weights of its clusters."""
    figures: dict[str, bytes] = {}
    shown = {"Labels of some training frames": EVOLUTION, "The same labels over the run": EVOLUTION_MOVING}
    figures |= {
        title: (folder / name).read_bytes() for title, name in shown.items() if (folder / name).is_file()
    }
    if "clusters" in summary:
        figures["Weights of the clusters"] = plot_weights(summary["history"], summary["clusters"]["sizes"])
    return figures


def _branches(folder: Path, which: str, branch: str) -> tuple[dict[str, DetectorNetwork], dict[str, Any]]:
    """The networks to report on by the name of their branch, the kept one first, and the run's summary."""
    summary: dict[str, Any] = {}
    networks: dict[str, DetectorNetwork] = {}
    if branch != "main":
        networks["light"], summary = load_run(folder, which)
    if branch != "light":
        networks["main"], summary = load_main_branch(folder)
    return networks, summary


def _weights_told(summary: dict[str, Any], which: str, epoch: int | None) -> str:
    if epoch is not None:
        return f"{which}, epoch {epoch} of {summary['config']['epochs']}"
    average = summary["average"]
    return (
        f"{average['share_of_the_run']:.0%} the {average['of_the_run']} weights of the run, the rest those it "
        "started from; the curves are the run's"
    )


def _best_epoch(folder: Path) -> int:
    with safe_open(folder / BEST, framework="pt") as file:
        return int(file.metadata()["epoch"])


def _evaluate(network: DetectorNetwork, dataset: Dataset) -> Evaluation:
    print(f"evaluating {dataset.name} {dataset.split}: {len(dataset)} frames", file=sys.stderr, flush=True)
    return evaluate(predictor(network), dataset.samples)


def _facts(config: DetectorConfig, summary: dict[str, Any], weights: str) -> dict[str, str]:
    parameters = sum(p.numel() for p in create_model(config.model).parameters())
    optimizer = _OPTIMIZERS[config.optimizer]
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
        "Settings": f"{config.epochs} epochs, batch {config.batch}, {optimizer} lr {config.lr:g} with cosine, "
        f"EMA {config.ema:g}, crops of {crops}, seed {config.seed}",
    }


def _recipe_facts(summary: dict[str, Any], branch: str, named: Mapping[str, str]) -> dict[str, str]:
    if "vfm" not in summary:
        return {}
    vfm = summary["vfm"]
    levels = ", ".join(str(level) for level in vfm["levels"])
    light, main = (named.get(name, f"{name} branch") for name in ("light", "main"))
    shown = (
        f"{light} (the one that is kept) and {main}"
        if branch == "both"
        else named.get(branch, f"{branch} branch")
    )
    facts = {"Recipe": f"{recipe_of(summary)} with {vfm['name']}, levels {levels}; {shown}"}
    return facts | ({"SHA-256 of that model": vfm["sha256"]} if "sha256" in vfm else {})
