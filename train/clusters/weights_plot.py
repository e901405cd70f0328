# SPDX-License-Identifier: Apache-2.0
"""How the weights of clusters changed over a run, as one picture. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from pitviper.core.report.plots import COLOURS, require_matplotlib

_NAMED = 6


def plot_weights(history: Sequence[dict[str, Any]], sizes: Sequence[int], *, dpi: int = 110) -> bytes:
    """Draw the weight of each cluster, epoch by epoch, into one PNG of 12 x 4 inches.

    The clusters that end farthest from 1 have a colour and their number of frames in the legend; the others are grey.

    Args:
        history: Records of ``run.json`` with ``weights`` under ``companion``.
        sizes: Frames of each cluster.
        dpi: Resolution.

    Raises:
        MissingMatplotlib: matplotlib is not installed; the message names the extra.
    """
    matplotlib = require_matplotlib("a training report needs", extra="train")
    epochs = [record["epoch"] for record in history]
    weights = [record["companion"]["weights"] for record in history]
    order = sorted(range(len(sizes)), key=lambda cluster: -abs(weights[-1][cluster] - 1.0))
    figure = matplotlib.figure.Figure(figsize=(12, 4), layout="constrained", facecolor="white")
    panel = figure.subplots()
    for cluster in order[_NAMED:]:
        panel.plot(epochs, [w[cluster] for w in weights], color="#c8ccd1", linewidth=0.8)
    for cluster, colour in zip(order[:_NAMED], COLOURS, strict=False):
        last = weights[-1][cluster]
        label = f"cluster {cluster}, {sizes[cluster]} frames: {last:.3f} at the end"
        panel.plot(epochs, [w[cluster] for w in weights], color=colour, linewidth=1.5, label=label)
    panel.axhline(1.0, color="#8c959f", linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    panel.set(title="Weights of the clusters, each against all others", xlabel="epoch", ylabel="weight")
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
    panel.legend(fontsize=8.5, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=dpi)
    return target.getvalue()
