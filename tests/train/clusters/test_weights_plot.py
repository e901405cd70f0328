# SPDX-License-Identifier: Apache-2.0
"""The picture of cluster weights shows every cluster, and names those that moved most."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pitviper.train.clusters.weights_plot import plot_weights

figure = pytest.importorskip("matplotlib.figure", reason="matplotlib (the extra train) is not installed")
axes = pytest.importorskip("matplotlib.axes")


def test_the_farthest_have_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[list[float], str]] = []
    real = axes.Axes.plot

    def plot(self: Any, x: Any, y: Any, **style: Any) -> Any:
        drawn.append((list(y), str(style.get("label", ""))))
        return real(self, x, y, **style)

    monkeypatch.setattr(axes.Axes, "plot", plot)
    last = [1.0, 1.5, 0.6, 1.01, 1.02, 0.97, 1.04, 0.95, 1.0]
    history = [{"epoch": e, "companion": {"weights": [1 + (w - 1) * e / 2 for w in last]}} for e in (1, 2)]
    content = plot_weights(history, list(range(9)))
    from PIL import Image

    assert Image.open(io.BytesIO(content)).size == (1320, 440)
    assert len(drawn) == 9
    assert drawn[3] == ([pytest.approx(1.25), 1.5], "cluster 1, 1 frames: 1.500 at the end")
    assert [label for _, label in drawn][:3] == ["", "", ""], "1.0, 1.0 and 1.01 stay grey"
