# SPDX-License-Identifier: Apache-2.0
"""The history of a run as one picture: losses, learning rate, val metrics and false objects. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pitviper.core.report.plots import COLOURS, require_matplotlib
from pitviper.train.config import FDEPConfig, TrainingConfig
from pitviper.train.epoch import learning_rate
from pitviper.train.point_config import SemanticPriorsConfig, SPReferenceConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAINT = "#8c959f"
_LOSSES = {"soft_iou": "soft IoU", "hard_bce": "hard BCE"}
_KEPT = {
    FDEPConfig.recipe: ", light branch",
    SemanticPriorsConfig.recipe: ", student",
    SPReferenceConfig.recipe: ", student",
}
_PERCENT = {"iou": ("IoU", "-"), "niou": ("nIoU", ":"), "pd": ("Pd", "--")}


def plot_history(
    history: Sequence[dict[str, Any]], config: TrainingConfig, *, chosen: int | None, dpi: int = 110
) -> bytes:
    """Draw the records of ``run.json`` into one PNG of 12 x 7.4 inches.

    Args:
        history: One record an epoch, in order: ``epoch`` (from 1), losses, and ``validation`` where it was made.
        config: Settings of the run; the learning rate is computed from them.
        chosen: Epoch whose weights the report is about, marked in every panel; None where they are of no one epoch.
        dpi: Resolution.

    Raises:
        MissingMatplotlib: matplotlib is not installed; the message names the extra.
    """
    matplotlib = require_matplotlib("a training report needs", extra="train")
    figure = matplotlib.figure.Figure(figsize=(12, 7.4), layout="constrained", facecolor="white")
    loss, score, rate, false = figure.subplots(2, 2, sharex=True).reshape(-1)
    _losses(loss, history)
    _learning_rate(rate, config)
    _scores(score, history, _KEPT.get(config.recipe, ""))
    _false_objects(false, history)
    for panel in (loss, score, rate, false):
        if chosen is not None:
            panel.axvline(chosen, color=_FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8.5, frameon=False, loc="upper right" if panel is loss else "best")
    for panel in (rate, false):
        told = "" if chosen is None else f" (dashed line: epoch {chosen}, whose weights are reported)"
        panel.set_xlabel(f"epoch{told}")
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=dpi)
    return target.getvalue()


def _losses(panel: Axes, history: Sequence[dict[str, Any]]) -> None:
    epochs = [record["epoch"] for record in history]
    names = [name for name in history[0] if name not in ("epoch", "companion", "validation")]
    for name, colour in zip(names, COLOURS, strict=False):
        values = [record[name] for record in history]
        label = f"{_LOSSES.get(name, name)}: {values[-1]:.4f} at the end"
        panel.plot(epochs, values, color=colour, linewidth=1.6 if name == "loss" else 1.1, label=label)
    panel.set(title="Training loss", ylabel="mean over the epoch's steps")
    # Room for the legend above the curves: the losses of a run that learns little are as flat as lines of text.
    panel.set_ylim(0, (1 + 0.09 * len(names)) * panel.get_ylim()[1])


def _learning_rate(panel: Axes, config: TrainingConfig) -> None:
    steps = max(config.epochs, 200)
    along = [i / steps for i in range(steps + 1)]
    panel.plot(
        [a * config.epochs for a in along], [learning_rate(config, a) for a in along], color=COLOURS[0]
    )
    panel.set(title="Learning rate", ylabel="learning rate")
    # Without a false object there is no scale but this one.
    panel.set_ylim(bottom=0, top=None if panel.dataLim.ymax > 0 else 1)


def _validated(history: Sequence[dict[str, Any]]) -> dict[str, list[tuple[int, dict[str, float]]]]:
    """Epochs and metrics by set."""
    found: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for record in history:
        for name, metrics in record.get("validation", {}).items():
            found.setdefault(name, []).append((record["epoch"], metrics))
    return found


def _scores(panel: Axes, history: Sequence[dict[str, Any]], branch: str) -> None:
    for (name, points), colour in zip(_validated(history).items(), COLOURS, strict=False):
        for key, (label, style) in _PERCENT.items():
            drawn = [(epoch, 100 * metrics[key]) for epoch, metrics in points if key in metrics]
            if drawn:
                text = f"{name} {label}: {drawn[-1][1]:.2f} at the end"
                panel.plot(
                    *zip(*drawn, strict=True), style, color=colour, label=text, marker=".", markersize=4
                )
    panel.set(title=f"Validation{branch}, averaged weights, p > 0.5", ylabel="%", ylim=(0, 101))


def _false_objects(panel: Axes, history: Sequence[dict[str, Any]]) -> None:
    for (name, points), colour in zip(_validated(history).items(), COLOURS, strict=False):
        values = [metrics["false_objects_per_frame"] for _, metrics in points]
        text = f"{name}: {values[-1]:.3f} at the end"
        panel.plot([epoch for epoch, _ in points], values, color=colour, label=text, marker=".", markersize=4)
    panel.set(title="False objects on validation frames", ylabel="false objects a frame")
    panel.set_yscale("symlog", linthresh=0.1)
    panel.set_ylim(bottom=0)
