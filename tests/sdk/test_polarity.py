# SPDX-License-Identifier: Apache-2.0
"""Dark targets: the network sees the negative, so that a frame and its negative hold the same targets bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pitviper import sdk
from pitviper.sdk.cli import exits, main
from pitviper.sdk.sources import open_source

Make = Callable[..., sdk.Detector]
KINDS = (np.uint8, np.uint16, np.float32)


def bright(kind: Any = np.uint16, shape: tuple[int, int] = (64, 80)) -> NDArray[Any]:
    """Noise with two targets of 25 deviations."""
    frame = np.random.default_rng(5).normal(100, 3, shape)
    frame[20, 30] += 80
    frame[41:43, 60] += 75
    return frame.astype(kind)


def negative(frame: NDArray[Any]) -> NDArray[Any]:
    return -frame if frame.dtype.kind == "f" else np.iinfo(frame.dtype).max - frame


def same_but_snr(found: sdk.Detections, wanted: sdk.Detections) -> None:
    for name in ("xy", "xyxy", "score", "mean", "area_px"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
    assert np.array_equal(found.score_map, wanted.score_map)
    assert (wanted.snr > 0).all()
    assert np.allclose(found.snr, -wanted.snr, rtol=1e-5), "the frame itself is measured: darker is negative"


@pytest.mark.parametrize("kind", KINDS)
def test_a_negative_frame_holds_the_same_targets(make_detector: Make, kind: Any) -> None:
    frame = bright(kind)
    wanted = make_detector().detect(frame)
    assert len(wanted) == 2
    given = negative(frame)
    kept = given.copy()
    dark = make_detector(polarity="dark")
    same_but_snr(dark.detect(given), wanted)
    assert np.array_equal(given, kept), "never written to"
    assert len(make_detector().detect(given)) == 0
    assert len(dark.detect(frame)) == 0


def test_batches_streams_and_tiles(make_detector: Make) -> None:
    frame = bright()
    wanted, given = make_detector().detect(frame), negative(frame)
    with make_detector(polarity="dark") as dark:
        for found in dark.detect_batch([given, given]):
            same_but_snr(found, wanted)
        for found in dark.stream([given, given]):
            same_but_snr(found, wanted)
    tile = sdk.Tiling(side=128, overlap=64, max_pixels=64 * 64)
    cut, whole = (make_detector(polarity=p, tile=tile) for p in ("dark", "bright"))
    large = bright(shape=(160, 224))
    same_but_snr(cut.detect(negative(large)), whole.detect(large))
    assert "tiled" in whole.detect(large).flags


@pytest.mark.parametrize("polarity", ["black-hot", None, True, ""])
def test_another_polarity_is_refused(make_detector: Make, polarity: Any) -> None:
    with pytest.raises(sdk.InputError, match=r"polarity must be .bright. or .dark., got .*black-hot camera"):
        make_detector(polarity=polarity)


def test_a_calibration_belongs_to_its_polarity(make_detector: Make, tmp_path: Path) -> None:
    with make_detector(polarity="dark") as dark:
        made = sdk.calibrate(dark, open_source([negative(bright())] * 8))
        assert made.polarity == "dark"
        path = tmp_path / "calibration.json"
        path.write_text(made.to_json())
        assert sdk.Calibration.load(path) == made
        made.check_model(dark.package, "dark")
        path.write_text(made.to_json().replace('"dark"', '"grey"'))
        with pytest.raises(sdk.InputError, match="polarity must be 'bright' or 'dark', got 'grey'"):
            dark.detect(negative(bright()), threshold=path)
    with (
        make_detector() as usual,
        pytest.raises(sdk.InputError, match=r"of dark targets and this .* bright ones.*--polarity bright"),
    ):
        usual.detect(bright(), threshold=made)


def test_an_export_would_look_for_bright_ones(make_detector: Make, tmp_path: Path) -> None:
    with (
        make_detector(polarity="dark") as dark,
        pytest.raises(sdk.InputError, match="looks for bright targets; export from a Detector without"),
    ):
        dark.export(tmp_path / "toy.onnx")


def test_on_the_command_line_and_in_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, black = tmp_path / "white", tmp_path / "black"
    for folder, made in ((frames, bright()), (black, negative(bright()))):
        folder.mkdir()
        Image.fromarray(made).save(folder / "0.png")
    fast = ["--model", "pit-n", "--threads", "1"]
    found = []
    for words in ([str(frames)], [str(black), "--polarity", "dark", "--record", str(tmp_path / "recorded")]):
        assert main(["detect", *words, "--json", "-", *fast]) == exits.OK
        found.append(json.loads(capsys.readouterr().out)["targets"])
    assert len(found[0]) > 0
    assert [(t["x"], t["y"], t["score"]) for t in found[0]] == [
        (t["x"], t["y"], t["score"]) for t in found[1]
    ]
    header = json.loads((tmp_path / "recorded" / "index.jsonl").read_text().splitlines()[0])
    assert header["setup"]["polarity"] == "dark"
    assert main(["replay", str(tmp_path / "recorded")]) == exits.OK
    assert "every result is the recorded one, bit for bit" in capsys.readouterr().err
