# SPDX-License-Identifier: Apache-2.0
"""Times of launches on a device that runs behind the calling thread, with a clock that the test sets."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.core.plan import build_plan
from pitviper.sdk.cli import main
from pitviper.sdk.engines import EngineInfo
from pitviper.sdk.profiling import rates as rates_module
from pitviper.sdk.profiling.floors import launch_costs
from pitviper.sdk.profiling.launches import launch_runs
from pitviper.sdk.profiling.layers import layer_times
from pitviper.sdk.profiling.rates import torch_rates
from pitviper.sdk.profiling.timers import CudaTimer, timed

torch: Any = pytest.importorskip("torch", reason="the extra torch is not installed")
INFO = EngineInfo("torch-fused", "", "cpu", "fp32", None)


class Clock:
    """A device on which the nth piece of work takes n milliseconds; no time is told before all work was asked for."""

    def __init__(self) -> None:
        self.marks = 0
        self.asked_at: list[int] = []

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def elapsed_ms(self, begun: int, ended: int) -> float:
        self.asked_at.append(self.marks)
        return float(sum(range(begun, ended)))


def test_calls_are_timed_one_behind_the_other_and_waited_for_at_the_end() -> None:
    clock, made = Clock(), []
    assert timed(clock, [lambda n=n: made.append(n) for n in range(4)]) == [1.0, 2.0, 3.0, 4.0]
    assert made == [0, 1, 2, 3]
    assert set(clock.asked_at) == {5}, "waiting between two calls would let the device run dry"


def test_every_launch_of_the_plan_has_its_own_times_and_costs() -> None:
    package, clock = sdk.open_model("pit-n"), Clock()
    frame = np.zeros((1, 1, 64, 80), np.float32)
    runs = launch_runs(package, INFO, frame, 3, timer=clock)
    steps = len(runs)
    plan = build_plan(package)
    assert steps > len(plan.launches), "a residual block and a merge are two launches of Triton each"
    assert clock.marks == 3 * (steps + 1)
    for index, run in enumerate(runs):
        assert run.ms == tuple(float(index + 1 + lap * (steps + 1)) for lap in range(3))
    assert len({run.name for run in runs}) == steps
    assert runs[0].name.startswith("01 3x3 4 to 16, space-to-depth on 1x32x40")
    inside = [cost for name, cost in launch_costs(plan, (64, 80)) if "conv" in name or "residual" in name]
    # The additions of merges are counted with them in a plan; a launch of its own counts an addend's bytes only.
    stated = sum(cost.operations for cost in inside)
    assert sum(run.cost.operations for run in runs) == pytest.approx(stated, rel=0.01)


def test_layers_of_the_engine_leave_out_the_warm_up() -> None:
    layers = layer_times(sdk.open_model("pit-n"), INFO, (64, 80), rounds=2)
    assert all(0 < layer.spread.median <= layer.spread.p99 for layer in layers)
    assert {(layer.kernel, layer.clock) for layer in layers} == {("torch", "wall clock")}


def test_rates_of_a_device_are_the_best_of_its_times() -> None:
    rates = torch_rates(torch.device("cpu"), "fp16", Clock(), copy_bytes=2**20, side=64)
    # The first copy takes 1 ms, and the first product, behind six marks of the copies, 7 ms.
    assert rates.gigabytes_per_s == pytest.approx(2 * 2**20 / 1e6)
    assert rates.gigaoperations_per_s == pytest.approx(2 * 64**3 / 7e6)
    assert "copy of 1 MiB; product of 64x64 matrices by torch in fp16" in rates.how


def test_events_are_recorded_in_the_devices_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Event:
        made = 0

        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            Event.made += 1
            self.number = Event.made

        def record(self, stream: str) -> None:
            told.append(f"{self.number} in {stream}")

        def synchronize(self) -> None:
            told.append(f"wait for {self.number}")

        def elapsed_time(self, other: Event) -> float:
            return 0.25 * (other.number - self.number)

    fake = SimpleNamespace(Event=Event, current_stream=lambda device: f"stream of {device}")
    monkeypatch.setattr(torch, "cuda", fake)
    assert timed(CudaTimer("cuda:1"), [lambda: None, lambda: None]) == [0.25, 0.25]
    marks = [f"{number} in stream of cuda:1" for number in (1, 2, 3)]
    assert told == [*marks, "wait for 2", "wait for 3"]


def test_the_command_takes_the_engine_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rates_module, "_COPY_BYTES", 2**20)
    monkeypatch.setattr(rates_module, "_SIDE", 64)
    command = ["profile", "--model", "pit-n", "--shape", "64x32", "--seconds", "0.05", "--rounds", "2"]
    target = tmp_path / "p.json"
    assert main([*command, "--engine", "torch-fused", "--device", "cpu", "--json", str(target)]) == 0
    assert "01 3x3 4 to 16, space-to-depth" in capsys.readouterr().out
    told = json.loads(target.read_text())
    assert told["profile"]["engine"]["name"] == "torch-fused"
    assert all(layer["floor_ms"] > 0 and layer["ms"]["p99"] > 0 for layer in told["layers"])
