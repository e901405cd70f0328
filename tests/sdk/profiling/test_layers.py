# SPDX-License-Identifier: Apache-2.0
"""Layers: what the runtimes tell, with the arithmetic that the network has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pitviper import sdk
from pitviper.sdk.cli import main
from pitviper.sdk.engines import EngineInfo, openvino
from pitviper.sdk.profiling.layers import layer_times
from pitviper.sdk.profiling.rates import measure_rates
from pitviper.sdk.profiling.state import machine_state

ENGINES = ("onnxruntime", "openvino") if openvino.status().usable else ("onnxruntime",)


@pytest.mark.parametrize("engine", ENGINES)
def test_layers_have_times_and_the_arithmetic_of_the_network(engine: str) -> None:
    package = sdk.open_model("pit-n")
    layers = layer_times(package, EngineInfo(engine, "", "cpu", "fp32", 1), (128, 120), rounds=3)
    assert len({layer.name for layer in layers}) == len(layers)
    assert all(0 <= layer.spread.median <= layer.spread.p99 for layer in layers)
    convolutions = [layer for layer in layers if layer.cost.operations]
    assert len(convolutions) == 14
    stated = 1e9 * package.manifest.architecture["deployed"]["gmac_256x256"] * (128 * 120) / 256**2
    # ONNX Runtime pads the four channels of a head to its block of 16.
    assert sum(layer.cost.operations for layer in convolutions) / 2 == pytest.approx(stated, rel=0.05)
    first = convolutions[0].cost
    assert first.bytes_written == 64 * 60 * 16 * 4, "the first map, at half the size, 16 channels of float32"


def test_an_engine_that_tells_nothing_is_refused() -> None:
    with pytest.raises(sdk.InputError, match="'torch' tells no times"):
        layer_times(sdk.open_model("pit-n"), EngineInfo("torch", "", "cpu", "fp32", 1), (64, 64))


def test_rates_are_positive_and_say_how_they_were_found() -> None:
    rates = measure_rates(1)
    assert min(rates.gigabytes_per_s, rates.gigaoperations_per_s) > 0
    assert rates.how.startswith("measured: copy of 64 MiB in 1 thread")
    if openvino.status().usable:
        assert "OpenVINO in fp32" in measure_rates(1, engine="openvino").how


def test_the_state_leaves_out_what_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pitviper.sdk.profiling import state

    for name in ("_CPU", "_NVPMODEL", "_THERMAL", "_DEVFREQ"):
        monkeypatch.setattr(state, name, tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not {"governor", "power_mode", "celsius", "gpu_mhz", "gpu"} & set(machine_state())
    (tmp_path / "thermal_zone0").mkdir()
    (tmp_path / "thermal_zone0" / "type").write_text("gpu-thermal\n")
    (tmp_path / "thermal_zone0" / "temp").write_text("48500\n")
    monkeypatch.setattr(state, "_THERMAL", tmp_path)
    (tmp_path / "17000000.gpu").mkdir()
    (tmp_path / "17000000.gpu" / "cur_freq").write_text("624750000\n")
    monkeypatch.setattr(state, "_DEVFREQ", tmp_path)
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho '1980 MHz, 2619 MHz, 118.00 W, 41, P0'\n")
    smi.chmod(0o755)
    found = machine_state()
    assert found["celsius"] == {"gpu-thermal": 48.5}
    assert found["gpu_mhz"] == {"17000000.gpu": 624.75}
    assert found["gpu"] == "1980 MHz, 2619 MHz, 118.00 W, 41, P0"


def test_the_command_prints_measures_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra viz is not installed")
    files = {name: str(tmp_path / name) for name in ("p.json", "t.json", "r.png")}
    command = [
        "profile",
        "--model",
        "pit-n",
        "--shape",
        "96x64",
        "--seconds",
        "0.05",
        "--rounds",
        "2",
        "--threads",
        "1",
    ]
    written = ["--json", files["p.json"], "--trace", files["t.json"], "--roofline", files["r.png"]]
    assert main([*command, *written]) == 0
    shown = capsys.readouterr().out
    assert "standardise" in shown
    assert "rates, measured:" in shown
    told = json.loads(Path(files["p.json"]).read_text())
    assert told["profile"]["shape"] == [64, 96]
    assert sum(layer["operations"] > 0 for layer in told["layers"]) == 14
    assert all(layer["floor_ms"] > 0 for layer in told["layers"] if layer["bytes"])
    bars = [
        event for event in json.loads(Path(files["t.json"]).read_text())["traceEvents"] if event["ph"] == "X"
    ]
    stages = [bar for bar in bars if bar["tid"] == 1]
    assert [bar["name"] for bar in stages] == ["standardise", "network", "extract"]
    assert stages[1]["ts"] == pytest.approx(stages[0]["dur"]), "microseconds, one behind the other"
    assert len(bars) == 3 + len(told["layers"])
    assert Path(files["r.png"]).read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--json", "-", "--fail-over-ms", "1e-6"]) == 7
    json.loads(capsys.readouterr().out)


def test_a_board_is_computed_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["profile", "--board", "orin-nano", "--shape", "640x512"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("floor, not a measurement") == 2
    assert "68 GB/s" in shown
    assert main(["profile", "--board", "orin-nano", "--json", "-", "--fail-over-ms", "0.1"]) == 7
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "floor, not a measurement"
    assert told["sum_of_floors_ms"] == pytest.approx(sum(launch["floor_ms"] for launch in told["launches"]))
    assert main(["profile", "--board", "thor", "--trace", str(tmp_path / "t.json")]) == 2
    assert "with --board nothing is" in capsys.readouterr().err
