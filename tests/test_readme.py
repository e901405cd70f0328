# SPDX-License-Identifier: Apache-2.0
"""What the README shows can be done as it is written there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(page.read_text("utf-8")) if name == language]


def commands(page: Path) -> list[list[str]]:
    """Command lines of the console blocks, continued lines joined, without comments."""
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def pitviper_commands() -> list[list[str]]:
    """Every command of ours once, however many pages show it."""
    found: dict[tuple[str, ...], None] = {}
    for page in PAGES:
        for words in commands(page):
            program = Path(words[0]).name
            if program in {"pitviper", "pitviper-train"}:
                found[(program, *words[1:])] = None
    return [list(words) for words in found]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment under test, away from the checkout."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(
        words,
        cwd=folder,
        env=os.environ | {"PATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_first_python_comes_early() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert lines.index("```python") < 45, "the five lines of Python belong on the first screen"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_documented_python_runs(page: Path, tmp_path: Path) -> None:
    for code in blocks(page, "python"):
        done = run([sys.executable, "-I", "-c", code], tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout, "the example prints what it finds"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_documented_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in commands(page):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets


@lru_cache
def help_of(*command: str) -> str:
    """What a command prints of its options; it starts once, however often it is documented."""
    done = run([*command, "--help"], Path(tempfile.gettempdir()))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", pitviper_commands(), ids=" ".join)
def test_documented_commands_exist(words: list[str]) -> None:
    command = [word for word in words[:2] if not word.startswith("-")]
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in help_of(*command), f"{' '.join(command)} has no {word}"
    assert help_of(*command)


@pytest.mark.parametrize(
    "words",
    [words for words in pitviper_commands() if any("synthetic://" in word for word in words)],
    ids=" ".join,
)
def test_commands_on_the_synthetic_scene_run(words: list[str], tmp_path: Path) -> None:
    done = run(words, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"
