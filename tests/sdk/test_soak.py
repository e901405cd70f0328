# SPDX-License-Identifier: Apache-2.0
"""The soak benchmark, short: it counts right, and it would notice a lost or repeated frame."""

from __future__ import annotations

import importlib.util
import json
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
    spec.loader.exec_module(module)
    return module


def test_a_short_soak(tmp_path: Path) -> None:
    argv = ["--frames", "300", "--width", "64", "--height", "64", "--limit", "1e6"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *argv], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["frames"], result["wrong"], result["stream"]["processed"]) == (300, 0, 300)


def test_a_lost_and_a_doubled_frame_are_noticed(
    script: ModuleType, detector: sdk.Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [np.random.default_rng(0).normal(7800, 12, (64, 64)).astype(np.uint16)]
    assert script.soak(detector, frames, 12)["wrong"] == 0
    right = script.numbered

    def damaged(given: Any, count: int) -> Any:
        made = list(right(given, count))
        return [*made[:5], made[4], *made[6:]]

    monkeypatch.setattr(script, "numbered", damaged)
    assert script.soak(detector, frames, 12)["wrong"] == 1
