# SPDX-License-Identifier: Apache-2.0
"""Between the weights that a run ended with and those that it started from.

Fine-tuning gains on the data it sees and forgets a little of the rest; a point on the straight line between both sets
of weights can keep most of either. Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models" (CVPR 2022).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pitviper.core.models import DetectorNetwork, create_model
from pitviper.train.run import BEST, LAST, SUMMARY, load_run, save_weights, start_from, write_summary


def average_with_start(folder: Path, start: Path, output: Path, *, share: float, which: str = "last") -> Path:
    """Write a run folder whose weights are ``share`` of a run's and ``1 - share`` of those it started from.

    Args:
        folder: Finished run that was started with ``init``.
        start: The weights that it started from: package or ``.safetensors``; checked against the run's summary.
        output: New run folder, for ``package`` and ``report``.
        share: In [0, 1]; 1 is the run itself.
        which: ``"last"`` or ``"best"`` weights of the run.

    Raises:
        ValueError: ``share`` is outside [0, 1], or ``start`` is not what the run started from.
        FileExistsError: ``output`` holds a run already.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be in [0, 1], got {share}")
    if (output / SUMMARY).exists():
        raise FileExistsError(f"{output} holds a run already; choose another folder")
    network, summary = load_run(folder, which)
    first = create_model(summary["config"]["model"])
    facts = start_from(start, first)
    expected = summary.get("init")
    if not expected:
        raise ValueError(f"{folder} was not started with --init, so there are no weights to average it with")
    if facts["sha256"] != expected["sha256"]:
        raise ValueError(
            f"{start} (sha256 {facts['sha256'][:16]}...) is not what {folder} started from "
            f"({expected['weights']}, sha256 {expected['sha256'][:16]}...)"
        )
    _interpolate(network, first, share)
    for name in (BEST, LAST):
        save_weights(network, output / name)
    averaged: dict[str, Any] = {**summary, "average": {"share_of_the_run": share, "of_the_run": which}}
    write_summary(output, averaged)
    return output


def _interpolate(network: DetectorNetwork, first: DetectorNetwork, share: float) -> None:
    """In place: floating-point tensors, running statistics among them, become the weighted mean; counters stay."""
    start = first.state_dict()
    mixed = {
        name: value.lerp(start[name], 1.0 - share) if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(mixed)
