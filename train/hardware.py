# SPDX-License-Identifier: Apache-2.0
"""Where a run goes: devices, processes and precision, started by Lightning Fabric or joined to a launcher's."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Of the arithmetic, by Fabric's names; the weights are float32 in each."""


@dataclass(frozen=True)
class Hardware:
    """Where a run goes.

    Attributes:
        accelerator: Of ``lightning_fabric.Fabric``.
        devices: Processes on each node, of ``Fabric``; under torchrun "auto" is what torchrun started.
        precision: One of `PRECISIONS`.
        threads: CPU threads of a process; 0: torch decides.
        workers: Loader processes of a process.
        nodes: Machines; under torchrun 0 is what torchrun started, else 1.
        sync_batchnorm: Take the statistics of batch norms over all processes; GPUs only.
        compile: Let ``torch.compile`` fuse forward and backward of a step, of the recipes ``supervised`` and ``prior``;
            needs a C++ compiler on the CPU.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    precision: str = "bf16-mixed"
    threads: int = 0
    workers: int = 0
    nodes: int = 0
    sync_batchnorm: bool = False
    compile: bool = False


def launch(hardware: Hardware, seed: int) -> Fabric:
    """Start the processes of a run on this hardware, or join those of torchrun or srun, each with the same seed.

    Raises:
        ValueError: No such precision, the machine has no such hardware or no compiler, or the launcher started another
            number of processes.
    """
    if hardware.precision not in PRECISIONS:
        raise ValueError(f"--precision {hardware.precision} is none of {', '.join(PRECISIONS)}")
    if hardware.threads < 0:
        raise ValueError(f"--threads must be at least 1, or 0 for PyTorch's choice, got {hardware.threads}")
    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    devices: int | str = int(hardware.devices) if hardware.devices.isdigit() else hardware.devices
    nodes = hardware.nodes or 1
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        local, world = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        devices = local if devices == "auto" else devices
        nodes = hardware.nodes or world // local
    try:
        fabric = Fabric(
            accelerator=hardware.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=hardware.precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        raise ValueError(
            f"--accelerator {hardware.accelerator} --devices {hardware.devices} --nodes {nodes} --precision "
            f"{hardware.precision}: {error}"
        ) from error
    if hardware.compile and fabric.device.type == "cpu":
        _require_compiler()
    fabric.seed_everything(seed, verbose=False)
    return fabric


def _require_compiler() -> None:
    """``torch.compile`` looks for it in the first step only, and takes ``CXX`` or else g++."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise ValueError(
            f"--compile on the CPU needs a C++ compiler, and {compiler} is not found; install g++, let CXX name "
            "another one, or leave --compile out"
        )
