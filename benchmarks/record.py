# SPDX-License-Identifier: Apache-2.0
"""One form for every published number: the result with device, versions, commit and command beside it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pitviper

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("lightning-fabric", "numpy", "onnxruntime", "openvino", "scipy", "timm", "torch", "triton")
_NUMBERS = re.compile(r"\[\s+([-+\d.eE,\s]+?)\s+\]")


def write_result(name: str, result: dict[str, Any], *, folder: Path = RESULTS) -> Path:
    """Write ``folder/name.json`` with the conditions under which the result was measured; lists of numbers on one line.

    Args:
        name: Stem of the file.
        result: JSON-safe mapping; units stand in its keys.
        folder: Where published results live.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps({"conditions": conditions(), **result}, indent=1, allow_nan=False)
    path.write_text(_NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n")
    return path


def conditions() -> dict[str, Any]:
    """Device, versions, commit and command of this process."""
    return {
        "command": shlex.join(["python", *(_relative(a) for a in sys.argv)]),
        "commit": _commit(),
        "device": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "pitviper": pitviper.__version__,
        **{p: v for p in _PACKAGES if (v := _version(p))},
    }


def _relative(argument: str) -> str:
    name, equals, given = argument.partition("=")
    if equals and not name.startswith("-") and Path(given).is_absolute():
        return f"{name}={Path(given).name}"
    path = Path(argument)
    return (
        path.name
        if path.is_absolute() and path.suffix != ".py"
        else os.path.relpath(path)
        if path.is_absolute()
        else argument
    )


def _commit() -> str:
    root = Path(__file__).parent
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=root, capture_output=True, check=False)
    if head.returncode:
        return "not a git checkout"
    return head.stdout.strip() + (" with local changes" if dirty.returncode else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
