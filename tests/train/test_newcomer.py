# SPDX-License-Identifier: Apache-2.0
"""A folder of 16-bit frames and masks, two commands: FDEP trains on it, and `pitviper detect` runs what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pitviper.core.manifest import read_package
from pitviper.core.synthetic import random_scene_frame


def make_folder(root: Path, count: int = 12) -> Path:
    """14-bit counts in 16-bit PNG and TIFF files, masks of 0 and 255, no split lists."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i in range(count):
        frame, mask = random_scene_frame(500 + i, (80, 96))
        assert frame.dtype == np.uint16
        Image.fromarray(frame).save(root / f"images/frame_{i:02}{('.png', '.tif')[i % 2]}")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / f"masks/frame_{i:02}.png")
    return root


def console(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run an installed command."""
    program = Path(sys.executable).parent / script
    if not program.exists():
        pytest.skip(f"{script} is not installed beside {sys.executable}")
    return subprocess.run([str(program), *words], capture_output=True, text=True, timeout=560, env=os.environ)


@pytest.mark.slow
def test_from_a_folder_to_detections(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data = make_folder(tmp_path / "mine")
    run = tmp_path / "run"
    words = ["fdep", "--data", str(data), "--out", str(run), "--vfm", "tiny-random", "--model", "pit-n"]
    small = tmp_path / "small.json"
    small.write_text(json.dumps({"crops": [[1.0, 64]], "epochs": 2, "batch": 5}))
    done = console("pitviper-train", *words, "--config", str(small), "--accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{run}\n"
    assert "9 training frames, 9 with targets; validation: mine (3 frames)" in done.stderr
    assert "mine has no list of val frames: about 1 of 6 train frames was drawn" in done.stderr
    assert f"try pitviper detect FRAMES --model {run / 'package'}" in done.stderr
    manifest = read_package(run / "package").manifest
    assert manifest.training["vfm"]["name"] == "tiny-random"
    assert [entry["frames"] for entry in manifest.data] == [9]
    assert manifest.metrics.keys() == {"mine"}
    assert manifest.licence == "not stated"

    found = console("pitviper", "detect", str(data / "images"), "--model", str(run / "package"))
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(lines) == 12, "one line a frame, PNG and TIFF alike"
