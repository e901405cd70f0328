# SPDX-License-Identifier: Apache-2.0
"""``pitviper sources``: the table, the cameras, and what a source really delivers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pitviper.sdk.cli import main
from pitviper.sdk.sources import open_source, probing
from pitviper.sdk.sources.probing import probe_source, suspect_rows
from pitviper.sdk.sources.schemes import SCHEMES


def test_the_list_names_every_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["sources", "--json", str(tmp_path / "s.json")]) == 0
    printed = capsys.readouterr().out
    for scheme in SCHEMES:
        assert scheme.names[0] in printed
    rows = json.loads((tmp_path / "s.json").read_text())
    assert {row["names"][0] for row in rows} == {scheme.names[0] for scheme in SCHEMES}


def test_probe_measures_bits_rate_and_telemetry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for index in range(5):
        frame = (rng.normal(2000, 20, (122, 160)).astype(np.uint16) << 2).astype(np.uint16)
        # What telemetry looks like: a counter and status words among zeros.
        frame[120:] = 0
        frame[120, :40] = rng.integers(0, 16384, 40) << 2
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    assert main(["sources", "probe", str(tmp_path), "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shapes"] == {"122x160": 5}
    assert found["dtypes"] == {"uint16": 5}
    assert found["low_bits_unused"] == 2
    assert found["telemetry_rows"] == [-2, -1]
    assert found["fitting_profiles"] == ["lepton"]
    assert found["measured_fps"] is None, "a folder has no pace"
    assert main(["sources", "probe", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "telemetry suspected in rows -2, -1" in told
    assert "shifted up" in told


def test_probe_of_a_scene_and_of_swapped_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    scene = "synthetic://cloud?frames=40&width=96&height=80&bits=14&fps=20"
    assert main(["sources", "probe", scene, "--frames", "6", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["sensor_fps"], found["sensor_times"]) == (6, 20.0, "rising")
    assert found["used_bits"] <= 14
    assert found["telemetry_rows"] == []
    assert not found["byte_order_suspected"]
    ramp = (7800 + 4 * np.arange(160)[None, :] + np.random.default_rng(0).normal(0, 5, (3, 96, 160))).astype(
        "u2"
    )
    assert probe_source(open_source(ramp.byteswap())).byte_order_suspected
    assert probe_source(open_source(np.stack([ramp[0]] * 3))).repeated == 2


def test_a_horizon_is_no_telemetry() -> None:
    picture = np.random.default_rng(0).normal(7000, 5, (96, 128))
    picture[:40] += np.random.default_rng(1).normal(0, 200, (40, 128))
    assert suspect_rows(picture) == ()
    assert suspect_rows(np.zeros((64, 64), np.uint16)) == ()


def test_cameras_are_listed_with_their_formats(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer = {"format": "Y16", "description": "16-bit gray", "sizes": {"640x512": [60.0, 30.0]}}
    devices = [
        probing.DeviceReport("/dev/video0", "uvcvideo", "Boson", (offer,)),
        probing.DeviceReport("/dev/video1", problem="this node delivers no pictures"),
    ]
    monkeypatch.setattr(probing, "probe_devices", lambda: devices)
    assert main(["sources", "probe"]) == 0
    printed = capsys.readouterr().out
    assert "/dev/video0: Boson (uvcvideo)" in printed
    assert "640x512 at 60, 30 frames per second" in printed
    assert "/dev/video1: this node delivers no pictures" in printed
    assert main(["sources", "probe", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["formats"][0]["format"] == "Y16"


def test_usage_and_source_errors_have_their_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources", "list", "/dev/video0"]) == 2
    assert "pitviper sources probe /dev/video0" in capsys.readouterr().err
    assert main(["sources", "probe", "nowhere.mkv"]) == 3
    assert main(["sources", "probe", "synthetic://", "--frames", "0"]) == 2
