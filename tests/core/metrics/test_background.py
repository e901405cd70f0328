# SPDX-License-Identifier: Apache-2.0
"""SCRG and BSF where they are infinite or undefined."""

from __future__ import annotations

import numpy as np
import pytest

from pitviper.core.metrics.background import Contrast, summarise_contrasts, target_contrasts


def test_every_target_counts() -> None:
    """Published code skips the last target of every image."""
    truth = np.zeros((50, 50), np.bool_)
    truth[5, 5] = truth[40, 40] = True
    generator = np.random.default_rng(0)
    before, after = generator.random((50, 50)), generator.random((50, 50))
    assert len(target_contrasts(before, after, truth)) == 2
    assert len(target_contrasts(before, after, np.eye(50, dtype=np.bool_))) == 1
    assert target_contrasts(before, after, np.zeros((50, 50), np.bool_)) == []


def test_the_local_background_holds_no_target_and_ends_at_the_margin() -> None:
    truth = np.zeros((60, 60), np.bool_)
    truth[30, 30] = truth[30, 35] = True
    before = np.zeros((60, 60))
    before[30, 30], before[30, 35] = 10.0, 1e6
    before[9, 9], before[10, 10] = 1e6, 1.0
    first = target_contrasts(before, before, truth)[0]
    pixels = 41 * 41 - 2
    assert first.contrast_in == pytest.approx(10.0 - 1.0 / pixels, rel=1e-12)
    whole = target_contrasts(before, before, truth, margin=None)[0]
    assert whole.sigma_in > 1e4


def test_infinite_and_undefined_values_are_told() -> None:
    flat, weak = Contrast(5.0, 5.0, 1.0, 0.0), Contrast(5.0, 10.0, 1.0, 1.0)
    lost = Contrast(0.0, 0.0, 0.0, 0.0)
    summary = summarise_contrasts([flat, flat, weak, lost])
    assert (summary["scrg"].median, summary["scrg"].undefined) == (np.inf, 1)
    assert summary["scrg"].infinite_share == pytest.approx(2 / 3)
    assert (summary["bsf"].mean, summary["bsf"].targets) == (np.inf, 4)
    mixed = summarise_contrasts([flat, weak, weak, weak])
    assert (mixed["scrg"].median, mixed["scrg"].mean) == (2.0, np.inf)
    assert np.isnan(summarise_contrasts([])["bsf"].median)


def test_refused_input() -> None:
    truth = np.zeros((4, 4), np.bool_)
    with pytest.raises(ValueError, match="same"):
        target_contrasts(np.zeros((4, 5)), np.zeros((4, 4)), truth)
    with pytest.raises(ValueError, match="after holds 16 values that are not finite"):
        target_contrasts(np.zeros((4, 4)), np.full((4, 4), np.inf), truth)
    with pytest.raises(ValueError, match="no background pixel"):
        target_contrasts(np.zeros((4, 4)), np.zeros((4, 4)), ~truth)
