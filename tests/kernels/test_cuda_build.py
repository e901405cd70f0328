# SPDX-License-Identifier: Apache-2.0
"""The module holds device code wherever nvcc was there to make it, and loads and explains itself without a GPU."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pitviper.kernels import native
from pitviper.kernels.aot.resources import Resources, ToolMissing, find_cuobjdump, read_resources

HALVES_AND_FLOAT = 3
KERNELS = {
    "affine_modulate": {"Affine": HALVES_AND_FLOAT},
    "conv_block": {"ConvKernel": HALVES_AND_FLOAT},
    "extract_targets": {"Mask": 2, "Components": 1, "Contrast": 4},
    "residual_block": {"ResidualKernel": HALVES_AND_FLOAT},
    "samf_fuse": {"Split": HALVES_AND_FLOAT, "Join": HALVES_AND_FLOAT},
    "standardise": {"Measure": 4, "Write": 4},
}
"""The kernels of each operation's folder, and how many forms each has at least: one for every type that it takes."""


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


@pytest.fixture(scope="module")
def inside() -> list[Resources]:
    """Every kernel in the compiled module; empty where it holds no device code."""
    try:
        find_cuobjdump()
    except ToolMissing as error:
        pytest.skip(str(error))
    return read_resources(Path(native.load().__file__ or "")) if native.load().cuda_archs() else []


def test_every_operation_names_its_kernels() -> None:
    folders = {path.parent.name for path in Path(native.__file__).parent.glob("*/reference.py")}
    assert set(KERNELS) == folders


@pytest.mark.parametrize("operation", KERNELS)
def test_every_kernel_of_an_operation_is_inside_and_none_spills(
    architectures: list[str], inside: list[Resources], operation: str
) -> None:
    """A kernel that nothing launches is left out by the linker, and would only be missed on a GPU."""
    capabilities = {int(name[3:]) for name in architectures if name.startswith("sm_")}
    for kernel, least in KERNELS[operation].items():
        # As in a mangled name: its length, itself, and the begin or end of a list of arguments.
        named = re.compile(rf"(?<!\d){len(kernel)}{kernel}[IE]")
        forms = [found for found in inside if named.search(found.function)]
        for capability in capabilities:
            count = sum(found.capability == capability for found in forms)
            assert count >= least, f"{kernel} has {count} forms for sm_{capability} in the compiled module"
        assert {found.function: found.stack for found in forms if found.stack} == {}
