# SPDX-License-Identifier: Apache-2.0
"""Curves as one picture: pixel ROC, precision-recall, Pd against Fa, and what HSE integrates. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1f6feb", "#d1570b", "#1a8a4a", "#8250df", "#bf3989", "#57606a")
_SMALLEST_FPR = 1e-6
# The thresholds 0 and 1, where everything or nothing is predicted, would only add lines to the corners.
_INNER = slice(1, -1)


class MissingMatplotlib(ImportError):
    """Curves were asked for and matplotlib is not installed."""


def require_matplotlib(need: str, *, extra: str) -> Any:
    """The package ``matplotlib`` with its figures, layout engines and tickers.

    Without pyplot no window system, backend or global state is touched.

    Args:
        need: What needs it, for the message.
        extra: Extra of this package that installs it.

    Raises:
        MissingMatplotlib: It is not installed.
    """
    try:
        import matplotlib.figure
        import matplotlib.layout_engine
        import matplotlib.ticker
    except ImportError as error:
        raise MissingMatplotlib(
            f'{need} matplotlib, which is not installed: pip install "pitviper[{extra}]"'
        ) from error
    return matplotlib


def plot_curves(evaluations: Mapping[str, Evaluation], *, dpi: int = 110) -> bytes:
    """Draw the curves of up to six sets into one PNG.

    Args:
        evaluations: By the name of the set, each evaluated with curves.
        dpi: Resolution; the picture is 12 x 8.8 inches.

    Raises:
        MissingMatplotlib: matplotlib is not installed; the message names the extra.
        ValueError: No evaluation, more than six, or one without curves.
    """
    if not 1 <= len(evaluations) <= len(COLOURS):
        raise ValueError(f"between 1 and {len(COLOURS)} evaluations can share a plot, got {len(evaluations)}")
    without = [name for name, evaluation in evaluations.items() if evaluation.metrics.curves is None]
    if without:
        raise ValueError(
            f"{', '.join(without)}: evaluated without curves; pass DetectionMetrics(curves=True)"
        )
    matplotlib = require_matplotlib("curves need", extra="viz")
    layout = matplotlib.layout_engine.ConstrainedLayoutEngine(h_pad=0.12, w_pad=0.1)
    figure = matplotlib.figure.Figure(figsize=(12, 8.8), layout=layout, facecolor="white")
    axes: NDArray[Any] = np.asarray(figure.subplots(2, 2)).reshape(-1)
    for (name, evaluation), colour in zip(evaluations.items(), COLOURS, strict=False):
        for panel, draw in zip(
            axes, (_roc, _precision_recall, _pd_against_fa, _over_thresholds), strict=True
        ):
            draw(panel, evaluation, name, colour)
    _label(axes)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=dpi)
    return target.getvalue()


def _roc(panel: Axes, evaluation: Evaluation, name: str, colour: str) -> None:
    curves, auc = evaluation.metrics.curves, evaluation.metrics.auc
    assert curves is not None
    if curves.roc is None or auc is None:
        panel.plot([], [], color=colour, label=f"{name}: undefined")
        return
    fpr, tpr = _thin(np.log10(np.maximum(curves.roc[0], _SMALLEST_FPR)), curves.roc[1])
    panel.plot(10.0**fpr, tpr, color=colour, label=f"{name}: AUC {auc:.4f}")


def _precision_recall(panel: Axes, evaluation: Evaluation, name: str, colour: str) -> None:
    curves, ap = evaluation.metrics.curves, evaluation.metrics.ap
    assert curves is not None
    if curves.precision_recall is None or ap is None:
        panel.plot([], [], color=colour, label=f"{name}: undefined")
        return
    panel.plot(*_thin(*curves.precision_recall), color=colour, label=f"{name}: AP {ap:.4f}")
    panel.plot(evaluation.metrics.recall, evaluation.metrics.precision, "o", color=colour, markersize=6)


def _pd_against_fa(panel: Axes, evaluation: Evaluation, name: str, colour: str) -> None:
    curves, metrics = evaluation.metrics.curves, evaluation.metrics
    assert curves is not None
    if curves.sweep.pd is None or metrics.pd is None:
        panel.plot([], [], color=colour, label=f"{name}: no target")
        return
    # Points, joined thinly in the order of thresholds: Pd is not monotone and nothing lies between two thresholds.
    fa, pd = curves.sweep.fa_per_mpix[_INNER], curves.sweep.pd[_INNER]
    panel.plot(fa, pd, "-", color=colour, linewidth=0.8, alpha=0.6)
    panel.plot(fa, pd, ".", color=colour, markersize=4, label=name)
    label = f"p > {metrics.threshold:g}: Pd {metrics.pd:.4f}, Fa {metrics.fa_per_mpix:.1f}"
    panel.plot(metrics.fa_per_mpix, metrics.pd, "o", color=colour, markersize=7, label=label)


def _over_thresholds(panel: Axes, evaluation: Evaluation, name: str, colour: str) -> None:
    curves, hse = evaluation.metrics.curves, evaluation.metrics.hse
    assert curves is not None
    assert hse is not None
    sweep = curves.sweep
    label = f"{name}: {evaluation.metrics.hse_version} {hse:.4f}"
    threshold = sweep.threshold[_INNER]
    panel.plot(threshold, ((sweep.iou + sweep.niou) / 2)[_INNER], color=colour, label=label)
    panel.plot(threshold, sweep.target_f1[_INNER], "--", color=colour)


def _label(axes: NDArray[Any]) -> None:
    roc, pr, pd, hse = axes
    roc.set(title="Pixel ROC", xlabel="false positive rate (pixels)", ylabel="true positive rate (pixels)")
    roc.set_xscale("log")
    roc.set_xlim(_SMALLEST_FPR, 1)
    pr.set(title="Precision and recall (pixels)", xlabel="recall", ylabel="precision", xlim=(0, 1.01))
    pd.set(title="Targets: Pd against Fa", xlabel="Fa (false-alarm pixels in a million)", ylabel="Pd")
    pd.set_xscale("symlog", linthresh=1.0)
    pd.set_xlim(left=0)
    title = "Over thresholds: (IoU + nIoU) / 2 solid, target F1 dashed"
    hse.set(title=title, xlabel="probability threshold", ylabel="value", xlim=(0, 1))
    for panel in axes:
        panel.set_ylim(0, 1.02)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=8.5, frameon=False)


def _thin(
    x: NDArray[np.float64], y: NDArray[np.float64], points: int = 2000
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Points at equal steps along a curve of possibly a million points; its ends stay."""
    if len(x) <= points:
        return x, y
    path = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    chosen = np.unique(np.searchsorted(path, np.linspace(0.0, path[-1], points)).clip(0, len(x) - 1))
    chosen = np.unique(np.concatenate([[0], chosen, [len(x) - 1]]))
    return x[chosen], y[chosen]
