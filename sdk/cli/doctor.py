# SPDX-License-Identifier: Apache-2.0
"""``pitviper doctor``: what is here, what is not, and what to do about it."""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from pitviper.sdk.cli import exits, options

__all__ = ["add_parser", "run"]

_BOARD = Path("/etc/nv_tegra_release")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``doctor``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="check this installation",
        description="Check this installation. Exit code 0 if the default detector can run here, else 4.",
    )
    parser.add_argument("--json", metavar="F|-", help="write the findings as JSON")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Look, print, and try the default model on each engine."""
    findings: dict[str, Any] = {
        "system": _system(),
        "packages": _packages(),
        "kernels": _kernels(),
        "engines": _engines(),
        "gpu": _gpu(),
        "models": _models(),
        "detector": _tried("auto"),
    }
    if args.json:
        options.write_json(args.json, findings)
    else:
        _print(findings)
    return exits.OK if findings["detector"]["usable"] else exits.MODEL_OR_ENGINE


def _print(findings: dict[str, Any]) -> None:
    for section in ("system", "packages"):
        for name, value in findings[section].items():
            print(f"{name:14s} {value}")
    for section in ("kernels", "engines", "models"):
        for entry in findings[section]:
            mark = "ok" if entry["usable"] else "--"
            print(f"{section[:-1]:14s} {mark} {entry['name']}: {entry['note']}")
    for line in findings["gpu"]:
        print(f"{'gpu':14s} {line}")
    detector = findings["detector"]
    print(f"{'detector':14s} {'ok' if detector['usable'] else '--'} {detector['note']}")


def _system() -> dict[str, str]:
    found = {
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if _BOARD.is_file():
        found["board"] = _BOARD.read_text("utf-8", "replace").splitlines()[0].lstrip("# ")
    return found


def _packages() -> dict[str, str]:
    names = (
        "pitviper",
        "numpy",
        "scipy",
        "pillow",
        "av",
        "onnxruntime",
        "openvino",
        "torch",
        "onnx",
        "safetensors",
        "supervision",
        "starlette",
        "paho-mqtt",
        "prometheus-client",
    )
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _kernels() -> list[dict[str, Any]]:
    from pitviper.kernels import available_backends

    return [
        {"name": backend.name, "usable": backend.available, "note": backend.reason or "runs"}
        for backend in available_backends()
    ]


def _engines() -> list[dict[str, Any]]:
    """What is installed is tried as well: an engine may lack its device, or its library may be broken."""
    from pitviper.sdk.engines import engines

    return [
        {"name": status.name, **_tried(status.name)}
        if status.usable
        else {
            "name": status.name,
            "usable": False,
            "note": f"{status.version or ''} {status.reason}".strip(),
        }
        for status in engines()
    ]


def _models() -> list[dict[str, Any]]:
    from pitviper.sdk.errors import ModelError
    from pitviper.sdk.model import list_models, open_model

    found = []
    for name in list_models():
        try:
            package = open_model(name)
        except ModelError as error:
            found.append({"name": name, "usable": False, "note": str(error)})
        else:
            found.append({"name": name, "usable": True, "note": f"hashes agree, {package.manifest.licence}"})
    return found or [{"name": "none", "usable": False, "note": "no model was installed; reinstall pitviper"}]


def _gpu() -> list[str]:
    """What the driver reports. Engines of this version need no GPU, so none is no fault."""
    if shutil.which("nvidia-smi") is None:
        return ["none reported (no nvidia-smi); none is needed"]
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"nvidia-smi gave no answer: {error}"]
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return (
        lines
        if done.returncode == 0 and lines
        else [f"nvidia-smi failed: {done.stderr.strip() or done.returncode}"]
    )


def _tried(engine: str) -> dict[str, Any]:
    """The default model on one test frame."""
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.errors import SdkError
    from pitviper.sdk.profile import benchmark_frame

    try:
        with Detector(engine=engine) as detector:
            found = detector.detect(benchmark_frame((128, 160)))
    except (SdkError, ImportError, OSError) as error:
        return {"usable": False, "note": str(error)}
    info = detector.engine_info
    return {
        "usable": True,
        "note": f"{detector.manifest.name} on {info.name} {info.version} ({info.device}, {info.precision}): "
        f"{len(found)} targets in a test frame",
    }
