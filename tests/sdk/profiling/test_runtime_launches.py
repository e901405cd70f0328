# SPDX-License-Identifier: Apache-2.0
"""Times of every launch of the runtime without torch, on the CPU by the code that a GPU goes through."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.core.plan import build_plan
from pitviper.kernels.runtime import FusedRuntime, RuntimeFailure
from pitviper.sdk.cli import main
from pitviper.sdk.engines import EngineInfo
from pitviper.sdk.profile import benchmark_frame
from pitviper.sdk.profiling import launches as launches_module
from pitviper.sdk.profiling import rates as rates_module
from pitviper.sdk.profiling.floors import launch_costs
from pitviper.sdk.profiling.layers import layer_times
from pitviper.sdk.profiling.rates import rates_missing

SHAPE = (64, 96)


@pytest.mark.parametrize("device", ["cpu", "host"])
def test_every_operation_of_a_frame_has_a_time_by_a_clock_that_is_named(device: str) -> None:
    plan = build_plan(sdk.open_model("pit-n"))
    frame = benchmark_frame(SHAPE)
    with FusedRuntime(plan.to_bytes(), device=device) as runtime:
        runtime.submit(frame)
        before = runtime.poll()
        found = runtime.profile(frame)
        runtime.submit(frame)
        after = runtime.poll()
    assert found.clock == "wall clock"
    operations = [each.operation for each in found.launches]
    assert operations[0] == "standardise"
    assert operations[-1] == "extract_targets"
    inner = ["residual_block" if launch.op.name == "RESIDUAL" else "conv_block" for launch in plan.launches]
    assert operations[1:-1] == inner
    assert [each.channels for each in found.launches[1:-1]] == [each.channels for each in plan.launches]
    assert all(each.ms > 0 for each in found.launches)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.targets.xy, before.targets.xy)


def test_it_runs_between_frames_and_refuses_what_a_frame_would_be_refused_for() -> None:
    with FusedRuntime(build_plan(sdk.open_model("pit-n")).to_bytes()) as runtime:
        frame = benchmark_frame(SHAPE)
        runtime.submit(frame)
        with pytest.raises(RuntimeFailure, match="in flight") as caught:
            runtime.profile(frame)
        assert caught.value.status == "PV_BUSY"
        runtime.poll()
        assert len(runtime.profile(frame).launches) == runtime.info["launches"] + 2
        with pytest.raises(RuntimeFailure, match="no map is kept"):
            runtime.map(SHAPE)
        with pytest.raises(RuntimeFailure, match="31 x 64"):
            runtime.profile(np.zeros((31, 64), np.uint16))
        with pytest.raises(TypeError, match="int32"):
            runtime.profile(np.zeros((64, 64), np.int32))
        with pytest.raises(RuntimeFailure, match="room is for 3"):
            runtime._call("profile", runtime._handle, frame.ctypes.data, (2, *SHAPE, 2 * SHAPE[1]), 0, 0, 3)


@pytest.mark.parametrize(("device", "precision", "itemsize"), [("cpu", "fp32", 4), ("host", "fp16", 2)])
def test_times_stand_beside_the_bytes_and_operations_of_the_plan(
    device: str, precision: str, itemsize: int
) -> None:
    package = sdk.open_model("pit-n")
    layers = layer_times(package, EngineInfo("cuda", "", device, precision, 1), SHAPE, rounds=2)
    costs = list(launch_costs(build_plan(package), SHAPE, itemsize=itemsize))
    assert [layer.cost for layer in layers] == [cost for _, cost in costs]
    assert [layer.name for layer in layers] == [
        f"{index + 1:02d} {name}" for index, (name, _) in enumerate(costs)
    ]
    assert {layer.clock for layer in layers} == {"wall clock"}
    assert {layer.kernel for layer in layers} == {device}
    assert all(0 < layer.spread.median <= layer.spread.p99 for layer in layers)
    assert {layer.kind for layer in layers} == {
        "standardise",
        "conv_block",
        "residual_block",
        "extract_targets",
    }


@pytest.fixture
def small_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "_COPY_BYTES", 2**20)
    monkeypatch.setattr(rates_module, "_SIDE", 64)


COMMAND = [
    "profile", "--model", "pit-n", "--shape", "64x32", "--seconds", "0.02", "--rounds", "2", "--engine", "cuda",
    "--device", "cpu",
]  # fmt: skip


def test_the_command_prints_a_table_of_launches(
    capsys: pytest.CaptureFixture[str], small_probes: None, tmp_path: Path
) -> None:
    target = tmp_path / "p.json"
    assert main([*COMMAND, "--json", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "times by wall clock" in shown
    assert "of floor" in shown
    told = json.loads(target.read_text())
    assert [layer["kind"] for layer in told["layers"]][::10] == ["standardise", "extract_targets"]
    assert {layer["clock"] for layer in told["layers"]} == {"wall clock"}
    assert all(layer["floor_ms"] > 0 and layer["ms"]["p99"] > 0 for layer in told["layers"])


class OnBoard:
    """`FusedRuntime` on a board: the launches of the CPU, with the times of its events."""

    def __init__(self, plan: bytes, *, device: str, half: bool) -> None:
        assert (device, half) == ("cuda:0", True)
        self._runtime = FusedRuntime(plan, device="cpu")

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._runtime.close()

    def profile(self, frame: Any) -> Any:
        launches = self._runtime.profile(frame).launches
        return SimpleNamespace(clock="CUDA events", launches=launches)


def test_a_board_without_torch_has_times_and_no_floors(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_probes: None, tmp_path: Path
) -> None:
    """What the engine tells of itself there: the device with its name, times by events, nothing to measure rates by."""
    board = EngineInfo("cuda", "1", "cuda:0 Orin", "fp16", None)
    monkeypatch.setattr(sdk.Detector, "engine_info", board)
    monkeypatch.setattr(launches_module, "FusedRuntime", OnBoard)
    monkeypatch.setattr(rates_module.util, "find_spec", lambda name: None)
    target = tmp_path / "p.json"
    assert main([*COMMAND, "--json", str(target)]) == 0
    shown = capsys.readouterr().out
    assert "times by CUDA events" in shown
    assert "no rates, and so no floors: torch, which measures a GPU, is not installed" in shown
    told = json.loads(target.read_text())
    assert told["rates"] is None
    assert {layer["floor_ms"] for layer in told["layers"]} == {None}
    assert main([*COMMAND, "--roofline", str(tmp_path / "r.png")]) == 2
    assert "needs the rates of this machine" in capsys.readouterr().err


def test_the_rates_of_a_processor_never_stand_for_a_gpu() -> None:
    assert rates_missing("cpu") == ""
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    if not torch.cuda.is_available():
        assert "sees none" in rates_missing("cuda:0")
