# SPDX-License-Identifier: Apache-2.0
"""The runtime on a board: no torch, no Triton, nothing that only training or drawing of curves needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BLOCKED = ("torch", "triton", "onnx", "safetensors", "matplotlib", "timm", "lightning_fabric", "torchvision")

# Runs first in a fresh interpreter: from here on, the blocked packages are as good as not installed.
BLOCK = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked by the test)", name=name)
        return None

sys.meta_path.insert(0, Blocked())
"""

IMPORT = """
import json, os, threading
import numpy

environment, threads = dict(os.environ), threading.active_count()
import pitviper.sdk
print(json.dumps({
    "environment": dict(os.environ) == environment,
    "threads": threading.active_count() - threads,
    "modules": sorted(sys.modules),
    "names": sorted(pitviper.sdk.__all__),
}))
"""

DETECT = """
import json
import numpy
from pitviper import sdk

frame = numpy.random.default_rng(0).normal(7800, 12, (96, 128))
frame[40:43, 60:63] += 400
with sdk.Detector() as detector:
    found = detector.detect(frame.astype(numpy.uint16))
print(json.dumps({"shape": list(found.shape), "xy": numpy.asarray(found.xy).tolist()}))
"""


def run_without_torch(code: str, folder: Path) -> dict[str, Any]:
    """The JSON object that code prints last, run in a fresh interpreter away from the checkout."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCK + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def test_the_block_blocks(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCK + "import torch"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "blocked by the test" in done.stderr


def test_sdk_imports_without_torch_and_leaves_the_process_alone(tmp_path: Path) -> None:
    seen = run_without_torch(IMPORT, tmp_path)
    assert seen["environment"], "importing pitviper.sdk changed an environment variable"
    assert seen["threads"] == 0, "importing pitviper.sdk started a thread"
    assert "Detector" in seen["names"]


@pytest.mark.parametrize("module", ["onnxruntime", "av", "scipy", "pitviper.train"])
def test_import_does_not_load_what_it_may_not_need(module: str, tmp_path: Path) -> None:
    assert module not in run_without_torch(IMPORT, tmp_path)["modules"]


def test_detection_runs_without_torch(tmp_path: Path) -> None:
    found = run_without_torch(DETECT, tmp_path)
    assert found["shape"] == [96, 128]
    # A 3x3 target of thirty times the noise: half a pixel around the centre of its middle pixel.
    assert any(abs(x - 61.5) < 1 and abs(y - 41.5) < 1 for x, y in found["xy"]), found["xy"]
