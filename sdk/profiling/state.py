# SPDX-License-Identifier: Apache-2.0
"""What bears on the pace of this machine at the moment and can be read: clocks, power mode, load and heat."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

__all__ = ["machine_state"]

_CPU: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_NVPMODEL: Final = Path("/var/lib/nvpmodel/status")
_THERMAL: Final = Path("/sys/class/thermal")
_DEVFREQ: Final = Path("/sys/class/devfreq")
_GPU_FIELDS: Final = "clocks.sm,clocks.mem,power.draw,temperature.gpu,pstate"


def machine_state() -> dict[str, Any]:
    """``cpu_mhz`` of every core, ``governor``, ``power_mode`` (Jetson), ``load_average`` and ``celsius``.

    On a Jetson also ``gpu_mhz``; where there is an nvidia-smi, ``gpu`` with its clocks, power and temperature. What a
    machine does not tell is left out, so a missing key is no zero.
    """
    found: dict[str, Any] = {
        "cpu_mhz": _mhz(),
        "governor": _text(_CPU / "scaling_governor"),
        "power_mode": _text(_NVPMODEL),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "celsius": _celsius(),
        "gpu_mhz": _jetson_gpu_mhz(),
        "gpu": _nvidia_smi(),
    }
    return {name: value for name, value in found.items() if value}


def _mhz() -> list[float]:
    """Of each core at this moment; processors of virtual machines tell their nominal one."""
    lines = (_text(Path("/proc/cpuinfo")) or "").splitlines()
    return [float(line.partition(":")[2]) for line in lines if line.lower().startswith("cpu mhz")]


def _celsius() -> dict[str, float]:
    zones = {}
    for zone in sorted(_THERMAL.glob("thermal_zone*")):
        name, value = _text(zone / "type"), _text(zone / "temp")
        if name and value and value.lstrip("-").isdigit():
            zones[name] = int(value) / 1000
    return zones


def _jetson_gpu_mhz() -> dict[str, float]:
    clocks = {path.name: _text(path / "cur_freq") for path in sorted(_DEVFREQ.glob("*gpu*"))}
    return {name: int(hertz) / 1e6 for name, hertz in clocks.items() if hertz and hertz.isdigit()}


def _nvidia_smi() -> str | None:
    """One line for each GPU, in the words of nvidia-smi; it asks the driver and changes nothing."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={_GPU_FIELDS}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi gave no answer: {error}"
    return "; ".join(done.stdout.split("\n")).strip("; ") or None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").strip() or None
    except OSError:
        return None
