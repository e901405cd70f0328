# SPDX-License-Identifier: Apache-2.0
"""The soak benchmark, short: it counts right, and it would notice a lost frame, a leak and a handle left open."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pitviper import sdk

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def frames() -> list[Any]:
    return [np.random.default_rng(0).normal(7800, 12, (64, 64)).astype(np.uint16)]


def test_a_short_soak(tmp_path: Path) -> None:
    argv = ["--frames", "300", "--width", "64", "--height", "64", "--limit", "1e6", "--lose-every", "100"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *argv, "--model", "none", "--full"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (result["frames"], result["wrong"], result["stream"]["processed"]) == (300, 0, 300)
    assert result["stream"]["reconnects"] == 3
    assert result["stream"]["flagged"]["reconnected"] == 2, "the third time there is nothing left to come"


def test_a_lost_and_a_doubled_frame_are_noticed(
    script: ModuleType, detector: sdk.Detector, frames: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert script.soak(detector, frames, 12)["wrong"] == 0
    right = script.numbered

    def damaged(count: int, seconds: float) -> Any:
        made = list(right(count, seconds))
        return iter([*made[:5], made[4], *made[6:]])

    monkeypatch.setattr(script, "numbered", damaged)
    assert script.soak(detector, frames, 12)["wrong"] == 1


def test_a_handle_that_each_reconnect_leaves_open_is_noticed(
    script: ModuleType, detector: sdk.Detector, frames: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(script.Camera, "_release", lambda self: kept.append(os.dup(self._device.fileno())))
    try:
        result = script.soak(detector, frames, 400, lose_every=40)  # more frames than the reader may be ahead
        assert result["handles"][1] - result["handles"][0] >= 3
        assert not script.passed(result, 1e9, 10)
    finally:
        for handle in kept:
            os.close(handle)


def test_a_slope_is_told_from_noise(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    at = np.arange(400.0) * 100
    # Memory moves in steps that last: noise that remembers.
    noise = np.convolve(rng.normal(0, 4096, 409), np.ones(10) / 10, mode="valid")
    _, low, high = script.slope(at, 1e8 + noise)
    assert low < 0 < high
    _, low, high = script.slope(at, 1e8 + noise + 2.0 * at)
    assert 0 < low < 2.0 < high
