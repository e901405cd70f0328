# SPDX-License-Identifier: Apache-2.0
"""Half a minute of training is enough to find bright targets in a scene that was not trained on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from pitviper.core.synthetic import Scene, SceneConfig


def test_train_tiny(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "examples/train_tiny.py"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    number = r"(\d+\.\d+)"
    lines = [
        re.fullmatch(rf"x {number}  y {number}  score {number}", line) for line in done.stdout.splitlines()
    ]
    assert all(lines)
    found = np.array([[float(value) for value in line.groups()] for line in lines if line])
    truth = Scene(SceneConfig(width=128, height=128, seed=99, snr=(20, 40)))[0].targets
    assert len(truth) == 3
    near = [np.hypot(*(found[:, :2] - target).T).min() < 2 for target in truth]
    # All three here; another processor rounds otherwise and trains another network.
    assert sum(near) >= 2
    assert len(found) <= 12
    assert not list(tmp_path.glob("*/mine")), "everything lay in one temporary folder, which is gone"


def test_train_tiny_is_short(root: Path) -> None:
    assert len((root / "examples/train_tiny.py").read_text("utf-8").splitlines()) <= 40
