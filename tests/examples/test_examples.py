# SPDX-License-Identifier: Apache-2.0
"""The examples run as they are, with the shipped model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av


def run(root: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_embed_finds_the_planted_target(root: Path) -> None:
    lines = run(root, "examples/embed.py").splitlines()
    assert all(line.startswith("x ") and "SNR" in line for line in lines)
    # The scene of the example has one bright target of five pixels, at (21.9, 53.3).
    found = [tuple(float(part) for part in line.split()[1:4:2]) for line in lines]
    assert any(abs(x - 21.9) < 1.5 and abs(y - 53.3) < 1.5 for x, y in found), lines


def test_embed_is_five_lines(root: Path) -> None:
    lines = (root / "examples" / "embed.py").read_text("utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("#", '"""', "from"))]
    assert len(code) <= 5


def test_stream_of_a_scene_with_a_video(root: Path, tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    lines = run(
        root, "examples/stream.py", "synthetic://?frames=12&width=64&height=48", str(video)
    ).splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [f"frame {index}" for index in range(12)]
    assert lines[-1].startswith("12 of 12 frames, dropped {}")
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


def test_stream_without_argument_is_a_synthetic_scene(root: Path) -> None:
    assert run(root, "examples/stream.py").splitlines()[-1].startswith("40 of 40 frames")
