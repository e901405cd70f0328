# SPDX-License-Identifier: Apache-2.0
"""The module holds device code wherever nvcc was there to make it, and loads and explains itself without a GPU."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pitviper.kernels import native
from pitviper.kernels.aot.resources import ToolMissing, find_cuobjdump, read_resources

KERNELS = ("ConvKernel", "ResidualKernel")


@pytest.fixture
def architectures() -> list[str]:
    """What the module was compiled for; skips where it was built without nvcc, and may have been."""
    found: list[str] = native.load().cuda_archs()
    if not found and os.environ.get("PITVIPER_REQUIRE_CUDA") != "1":
        pytest.skip("the module was built without device code: nvcc was not found, or PITVIPER_CUDA was OFF")
    return found


def test_every_promised_architecture_is_inside(architectures: list[str]) -> None:
    assert {"sm_87", "sm_90", "compute_90"} <= set(architectures)


def test_a_machine_that_runs_no_kernel_says_why() -> None:
    reason = native.load().cuda_missing_reason()
    if native.load().cuda_archs() and not reason:
        pytest.skip("a GPU that runs the module's kernels is in this machine")
    assert re.search("without nvcc|driver|device|no code for", reason)


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_form_of_a_kernel_spills(architectures: list[str], kernel: str) -> None:
    try:
        find_cuobjdump()
    except ToolMissing as error:
        pytest.skip(str(error))
    module = Path(native.load().__file__ or "")
    forms = [found for found in read_resources(module) if kernel in found.function]
    capabilities = {int(name[3:]) for name in architectures if name.startswith("sm_")}
    assert {found.capability for found in forms} == capabilities
    assert {found.function: found.stack for found in forms if found.stack} == {}
