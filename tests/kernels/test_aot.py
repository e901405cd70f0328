# SPDX-License-Identifier: Apache-2.0
"""The kernels compiled for GPUs that are not here: what the compilers' own records must say."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pitviper.kernels.aot.limits import ARCHITECTURES, WARP, occupancy, register_share
from pitviper.kernels.aot.resources import parse_resources

KERNELS = {"affine_modulate", "conv_block", "samf_fuse"}
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="triton is not installed; pip install 'pitviper[triton]'",
)


def compiling(folder: Path) -> dict[str, str]:
    """An environment in which Triton compiles, and nothing that an earlier run compiled is reused."""
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return {**kept, "TRITON_CACHE_DIR": str(folder)}


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command prints as JSON; it says nothing on stderr and succeeds.

    Every kernel is compiled for the boards and for Hopper; sm_80 and sm_120 are given the convolution only, since their
    tensor cores take the same instructions as Orin's.
    """
    folder = tmp_path_factory.mktemp("aot")
    choices = (["--arch", "87", "--arch", "90", "--arch", "110"],)
    choices += (["--arch", "80", "--arch", "120", "--operation", "conv_block"],)
    running = [
        subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-W",
                "ignore",
                "-m",
                "pitviper.kernels.aot",
                "--quick",
                "--json",
                *choice,
            ],
            cwd=folder,
            env=compiling(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for choice in choices
    ]
    answers = [(*process.communicate(timeout=600), process.returncode) for process in running]
    assert [(errors, status) for _, errors, status in answers] == [("", 0), ("", 0)]
    boards, others = (json.loads(text) for text, _, _ in answers)
    rows = {row["name"]: row for row in boards["kernels"]}
    for row in others["kernels"]:
        rows[row["name"]]["architectures"].update(row["architectures"])
    answer: dict[str, Any] = boards
    return answer


@needs_triton
def test_no_kernel_spills_and_each_fits(report: dict[str, Any]) -> None:
    assert {row["operation"] for row in report["kernels"]} == KERNELS
    for row in report["kernels"]:
        expected = set(ARCHITECTURES) if row["operation"] == "conv_block" else {87, 90, 110}
        assert set(row["architectures"]) == {f"sm_{capability}" for capability in expected}
        for name, found in row["architectures"].items():
            limits = ARCHITECTURES[int(name.removeprefix("sm_"))]
            assert found["stack_bytes"] == 0, row["name"]
            assert 0 < found["registers"] <= 255
            assert found["shared_bytes"] <= limits.shared_per_block
            # Fewer resident warps than a quarter cannot hide the latency of memory, which bounds all of these.
            assert 0.25 <= found["occupancy"] <= 1, (row["name"], name)


@needs_triton
def test_matrix_products_run_on_tensor_cores_and_loads_are_wide(tmp_path: Path) -> None:
    """What keeps a convolution fast is in its assembly: 16 bytes to a copy, and the tensor cores' instruction."""
    script = (
        "from pitviper.kernels.aot.compiler import assembly, variants\n"
        "chosen = [v for v in variants() if v.operation == 'conv_block' and v.quick and 'addend' in v.name]\n"
        "print(assembly(chosen[0], 87))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", script],
        cwd=tmp_path,
        env=compiling(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "mma.sync.aligned.m16n8k16" in done.stdout
    assert "cp.async.cg.shared.global" in done.stdout
    assert "ld.local" not in done.stdout


@needs_triton
def test_the_module_of_this_installation_is_read_too(report: dict[str, Any]) -> None:
    """Device code, where nvcc was there to build it: registers that were spilled are seen in the module itself."""
    if not report["cuda"]:
        pytest.skip(f"no device code to read: {report['cuda_missing']}")
    for row in report["cuda"]:
        assert {"sm_87", "sm_90"} <= set(row["architectures"])
        for found in row["architectures"].values():
            assert found["stack_bytes"] == 0, row["function"]


SPILLING = """
import sys
from pathlib import Path
import triton
import triton.language as tl
from pitviper.kernels.aot import Variant
from pitviper.kernels.aot.compiler import compile_variant
from pitviper.kernels.cost import Cost

@triton.jit
def greedy(x, N: tl.constexpr):
    at = tl.arange(0, N)[:, None] * N + tl.arange(0, N)[None, :]
    kept = tl.load(x + at)
    turned = tl.trans(kept)
    tl.store(x + at, kept * turned + kept)

variant = Variant("test", "greedy", greedy, {"x": "*fp32"}, {"N": 128}, Cost(), "", 1, ("x",), num_warps=1)
print(*compile_variant(variant, 87, Path(sys.argv[1])).faults(), sep="\\n")
"""


@needs_triton
def test_a_kernel_that_spills_is_found(tmp_path: Path) -> None:
    script = tmp_path / "spilling.py"
    script.write_text(SPILLING)
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", str(script), str(tmp_path)],
        cwd=tmp_path,
        env=compiling(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "spilled to memory by each thread" in done.stdout, done.stderr


@needs_triton
def test_interpreted_kernels_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-m", "pitviper.kernels.aot", "--quick"],
        cwd=tmp_path,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert "TRITON_INTERPRET is set" in done.stderr


RECORD = """
Fatbin elf code:
================
arch = sm_87
code version = [1,8]

Resource usage:
 Common:
  GLOBAL:0
 Function first:
  REG:140 STACK:0 SHARED:400 LOCAL:0 CONSTANT[0]:400 TEXTURE:0 SURFACE:0 SAMPLER:0
 Function second:
  REG:255 STACK:48 SHARED:0 LOCAL:8 CONSTANT[0]:400 TEXTURE:0 SURFACE:0 SAMPLER:0

Fatbin elf code:
================
arch = sm_90

Resource usage:
 Function first:
  REG:94 STACK:0 SHARED:1424 LOCAL:0 CONSTANT[0]:400 TEXTURE:0 SURFACE:0 SAMPLER:0
"""


def test_a_record_is_read() -> None:
    found = parse_resources(RECORD)
    assert [(one.function, one.capability) for one in found] == [("first", 87), ("second", 87), ("first", 90)]
    assert [one.registers for one in found] == [140, 255, 94]
    assert [one.stack for one in found] == [0, 56, 0]
    # sm_90 counts the KiB that the driver reserves.
    assert [one.shared for one in found] == [400, 0, 400]


def test_a_record_without_an_architecture_is_refused() -> None:
    text = RECORD[
        RECORD.index(" Function second") : RECORD.index("\nFatbin elf code:\n================\narch = sm_90")
    ]
    with pytest.raises(ValueError, match="names no architecture"):
        parse_resources(text)
    assert parse_resources(text, capability=87)[0].stack == 56


@pytest.mark.parametrize(
    ("capability", "registers", "shared", "threads", "blocks", "bound"),
    [
        # 140 registers are 4608 a warp; a quarter of 64 Ki holds 3 of them, so 12 warps and 3 blocks of 4.
        (87, 140, 20480, 128, 3, "registers"),
        # 48 warps over 4; registers would allow 16 blocks of 4.
        (87, 32, 0, 128, 12, "threads"),
        # 16 blocks at most on Orin.
        (87, 16, 0, 32, 16, "blocks"),
        # 164 KiB over 49 KiB and the driver's one.
        (87, 64, 49 * 1024, 128, 3, "shared memory"),
        (90, 64, 49 * 1024, 128, 4, "shared memory"),
        (87, 64, 164 * 1024, 128, 0, "shared memory"),
        # 1024 threads of 128 registers are twice what there is.
        (90, 128, 0, 1024, 0, "registers"),
    ],
)
def test_occupancy(
    capability: int, registers: int, shared: int, threads: int, blocks: int, bound: str
) -> None:
    found = occupancy(ARCHITECTURES[capability], registers=registers, shared=shared, threads=threads)
    assert (found.blocks, found.bound) == (blocks, bound)
    assert found.share == pytest.approx(blocks * threads / ARCHITECTURES[capability].threads)


def test_registers_alone() -> None:
    assert register_share(ARCHITECTURES[87], 140) == pytest.approx(12 * WARP / 1536)
    assert register_share(ARCHITECTURES[87], 16) == 1.0


@pytest.mark.parametrize(("registers", "shared", "threads"), [(0, 0, 32), (32, -1, 32), (32, 0, 0)])
def test_impossible_kernels_are_refused(registers: int, shared: int, threads: int) -> None:
    with pytest.raises(ValueError, match="one thread and register"):
        occupancy(ARCHITECTURES[87], registers=registers, shared=shared, threads=threads)


CHECK = """
#include <cstdio>
#include <cstddef>
#include "cuda_occupancy.h"
int main() {
  int major, minor, threads, shared_kib, registers, shared, size;
  while (std::scanf("%d %d %d %d %d %d %d", &major, &minor, &threads, &shared_kib, &registers, &shared, &size) == 7) {
    cudaOccDeviceProp device;
    device.computeMajor = major; device.computeMinor = minor;
    device.maxThreadsPerBlock = 1024; device.maxThreadsPerMultiprocessor = threads;
    device.regsPerBlock = 65536; device.regsPerMultiprocessor = 65536; device.warpSize = 32;
    device.sharedMemPerBlock = 48 * 1024; device.sharedMemPerMultiprocessor = shared_kib * 1024;
    device.sharedMemPerBlockOptin = (shared_kib - 1) * 1024; device.reservedSharedMemPerBlock = 1024;
    device.numSms = 1;
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = 1024; kernel.numRegs = registers; kernel.sharedSizeBytes = 0;
    kernel.maxDynamicSharedSizeBytes = (shared_kib - 1) * 1024;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF; kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    kernel.numBlockBarriers = 0;
    cudaOccDeviceState state;
    cudaOccResult result;
    const int error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, size, shared);
    std::printf("%d\\n", error ? -error : result.activeBlocksPerMultiprocessor);
  }
}
"""


def test_occupancy_is_that_of_nvidias_header(tmp_path: Path) -> None:
    """The same blocks on a multiprocessor as the CUDA toolkit's own calculator, for every architecture."""
    header, compiler = occupancy_header(), shutil.which("c++")
    if header is None or compiler is None:
        pytest.skip("cuda_occupancy.h of the CUDA toolkit, or a C++ compiler, was not found")
    source, program = tmp_path / "check.cpp", tmp_path / "check"
    source.write_text(CHECK)
    command = [compiler, "-w", f"-I{header.parent}", str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    registers, shared, sizes = (16, 33, 64, 94, 140, 168, 255), (0, 1024, 9000, 40960, 98304), (32, 96, 256)
    asked = [
        form
        for form in product(ARCHITECTURES.values(), registers, shared, sizes)
        if form[2] <= form[0].shared_per_block
    ]
    lines = []
    for limits, *numbers in asked:
        device = (*divmod(limits.capability, 10), limits.threads, limits.shared_kib)
        lines.append(" ".join(map(str, (*device, *numbers))))
    done = subprocess.run([str(program)], input="\n".join(lines), capture_output=True, text=True, check=True)
    expected = [int(line) for line in done.stdout.split()]
    ours = [
        occupancy(limits, registers=count, shared=space, threads=size).blocks
        for limits, count, space, size in asked
    ]
    assert len(expected) == len(asked) > 400
    assert [(form, o, e) for form, o, e in zip(asked, ours, expected, strict=True) if o != e] == []


def occupancy_header() -> Path | None:
    """Where the toolkit, or its headers from a package index, keep the calculator."""
    nvcc, found = shutil.which("nvcc"), importlib.util.find_spec("nvidia")
    roots = [Path(nvcc).resolve().parents[1]] if nvcc else []
    roots += [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    return next((path for root in roots for path in sorted(root.glob("**/cuda_occupancy.h"))), None)
