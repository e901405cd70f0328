# SPDX-License-Identifier: Apache-2.0
"""What bears on the pace of this machine at the moment and can be read: clocks, governor, power mode, load, heat."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

__all__ = ["machine_state"]

_CPU: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_NVPMODEL: Final = Path("/var/lib/nvpmodel/status")
_THERMAL: Final = Path("/sys/class/thermal")


def machine_state() -> dict[str, Any]:
    """``cpu_mhz`` of every core, ``governor``, ``power_mode`` (Jetson), ``load_average`` and ``celsius``.

    Reads files only. What a machine does not tell is left out, so a missing key is no zero.
    """
    found: dict[str, Any] = {
        "cpu_mhz": _mhz(),
        "governor": _text(_CPU / "scaling_governor"),
        "power_mode": _text(_NVPMODEL),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "celsius": _celsius(),
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


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").strip() or None
    except OSError:
        return None
