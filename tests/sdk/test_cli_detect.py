# SPDX-License-Identifier: Apache-2.0
"""``pitviper detect``, ``eval`` and ``demo``: outputs, exit codes, and nothing lost when something stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.core.synthetic import Scene, SceneConfig
from pitviper.sdk.cli import exits, main

FAST = ["--model", "pit-n", "--threads", "1", "--max-targets", "16"]
PROGRAM = "import sys; from pitviper.sdk.cli import main; sys.exit(main(sys.argv[1:]))"
SCENE = "synthetic://?width=64&height=48&frames=4&seed=1"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "frames"
    target.mkdir()
    for view in Scene(SceneConfig(width=64, height=48, frames=4, seed=1)):
        Image.fromarray(view.frame).save(target / f"{view.index:03d}.png")
    return target


def test_json_lines_on_stdout_are_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", SCENE, *FAST]) == 0
    captured = capsys.readouterr()
    found = lines(captured.out)
    assert [row["frame_id"] for row in found] == [0, 1, 2, 3]
    assert "4 frames" in captured.err
    assert main(["predict", SCENE, "--json", "-", "--frames", "2", *FAST]) == 0
    assert lines(capsys.readouterr().out)[1]["targets"] == found[1]["targets"]


def test_every_output_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["detect", SCENE, str(tmp_path / "out.mp4"), *FAST, "--stats", str(tmp_path / "stats.json")]
    for name in ("json", "coco", "mot", "masks"):
        argv += [f"--{name}", str(tmp_path / name)]
    assert main(argv) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "out.mp4").stat().st_size > 0
    assert len(lines((tmp_path / "json").read_text())) == 4
    assert isinstance(json.loads((tmp_path / "coco").read_text()), list)
    assert len(list((tmp_path / "masks").glob("*.png"))) == 4
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert (stats["captured"], stats["processed"], stats["dropped"]) == (4, 4, {})


def test_what_the_command_finds_is_what_the_detector_finds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", str(folder), *FAST, "--engine", "onnxruntime"]) == 0
    rows = lines(capsys.readouterr().out)
    with sdk.Detector("pit-n", engine="onnxruntime", threads=1, max_targets=16) as detector:
        for row, path in zip(rows, sorted(folder.iterdir()), strict=True):
            assert row["name"] == path.name
            assert row["targets"] == detector.detect(path).to_dict()["targets"]


def test_a_broken_frame_in_the_middle_ends_or_is_skipped(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "002.png").write_bytes(b"no picture")
    out = tmp_path / "out.jsonl"
    assert main(["detect", str(folder), "--json", str(out), *FAST]) == exits.SOURCE
    assert "002.png" in capsys.readouterr().err
    assert [row["frame_id"] for row in lines(out.read_text())] == [0, 1]
    assert main(["detect", str(folder), "--json", str(out), "--on-error", "skip", *FAST]) == 0
    assert [row["name"] for row in lines(out.read_text())] == ["000.png", "001.png", "003.png"]
    assert "dropped 1 (unreadable)," in capsys.readouterr().err


def test_a_frame_that_is_too_small_is_the_sources_fault(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "002.png")
    assert main(["detect", str(folder), "--json", str(tmp_path / "out"), *FAST]) == exits.SOURCE
    assert "32x32" in capsys.readouterr().err
    assert len(lines((tmp_path / "out").read_text())) == 2
    assert main(["detect", str(folder), "--json", str(tmp_path / "out"), "--on-error", "skip", *FAST]) == 0
    assert "dropped 1 (refused)," in capsys.readouterr().err
    assert len(lines((tmp_path / "out").read_text())) == 3


def test_options_reach_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def camera(spec: str, **values: Any) -> None:
        given.append((spec, values["options"]))
        raise sdk.SourceError("no camera in a test")

    monkeypatch.setattr("pitviper.sdk.reconnect.open_source", camera)
    chosen = ["--source-option", "input_format=gray16le", "--source-option", "framerate=9"]
    assert main(["detect", "/dev/video0", *chosen, *FAST]) == exits.SOURCE
    assert given == [("/dev/video0", {"input_format": "gray16le", "framerate": "9"})]
    with pytest.raises(SystemExit) as caught:
        main(["detect", "/dev/video0", "--source-option", "gray16le"])
    assert caught.value.code == exits.USAGE


@pytest.mark.parametrize("link", ["same", "symbolic", "hard"])
@pytest.mark.parametrize("option", ["OUTPUT", "--json", "--stats", "--log-file"])
def test_the_input_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], link: str, option: str
) -> None:
    video, output = tmp_path / "in.mp4", tmp_path / "other.mp4"
    assert main(["detect", SCENE, str(video), *FAST]) == 0
    content = video.read_bytes()
    capsys.readouterr()
    if link == "same":
        output = video
    elif link == "symbolic":
        output.symlink_to("in.mp4")
    else:
        output.hardlink_to(video)
    target = [str(output)] if option == "OUTPUT" else [option, str(output)]
    assert main(["detect", str(video), *target, *FAST]) == exits.FAILURE
    assert "is the input" in capsys.readouterr().err
    assert video.read_bytes() == content


def test_masks_do_not_go_among_the_frames(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(folder.iterdir()):
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()
    before = sorted(folder.iterdir())
    assert main(["detect", str(folder), "--masks", f"{folder}/.", *FAST]) == exits.FAILURE
    assert "is the input" in capsys.readouterr().err
    assert main(["detect", str(folder / "001.tif"), "--masks", str(folder), *FAST]) == exits.FAILURE
    assert sorted(folder.iterdir()) == before
    assert main(["detect", str(folder), "--json", str(folder / "found.jsonl"), *FAST]) == 0


def test_what_is_replaced_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, stats = tmp_path / "out.jsonl", tmp_path / "stats.json"
    argv = ["detect", SCENE, "--json", str(out), "--stats", str(stats), *FAST]
    assert main(argv) == 0
    assert "replacing" not in capsys.readouterr().err
    out.write_text("old\n" * 100)
    assert main(argv) == 0
    assert f"replacing {out}, {stats}" in capsys.readouterr().err
    assert len(lines(out.read_text())) == 4


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--stats", "-"], exits.USAGE),
        (["--mot", "-"], exits.USAGE),
        (["--masks", "-"], exits.USAGE),
        (["--json", "one", "--stats", "one"], exits.FAILURE),
        (["--stats", "no/such/folder"], exits.FAILURE),
        (["--stats", "."], exits.FAILURE),
    ],
)
def test_statistics_have_their_own_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["detect", SCENE, *options, *FAST]) == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["detect", "no-such-file.mp4"], exits.SOURCE),
        (["detect", SCENE, "--model", "no-such-model"], exits.MODEL_OR_ENGINE),
        (["detect", SCENE, "--engine", "tensorrt"], exits.MODEL_OR_ENGINE),
        (["detect", SCENE, "--threshold", "7"], exits.USAGE),
        (["detect", SCENE, "--conf", "7"], exits.USAGE),
        (["detect", SCENE, "--frames", "0"], exits.USAGE),
        (["detect", SCENE, "--every", "0"], exits.USAGE),
        (["detect", "synthetic://?colour=red"], exits.USAGE),
        (["detect", SCENE, "--json", "no/such/folder/out"], exits.FAILURE),
        (["eval", "--data", "no-such-folder"], exits.SOURCE),
        (["eval", "--data", "no-such-folder", "--draws", "-3"], exits.USAGE),
        (["export", "clip.mp4"], exits.USAGE),
        (["demo", "unused", "--clutter", "lava"], exits.USAGE),
    ],
)
def test_what_cannot_be_done_has_its_exit_code(
    argv: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pitviper: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, exits.INTERRUPTED), (signal.SIGTERM, exits.TERMINATED)]
)
def test_a_signal_leaves_valid_outputs(tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "out.jsonl"
    argv = ["detect", "synthetic://?width=64&height=48&frames=none", str(tmp_path / "out.mp4")]
    argv += ["--json", str(out), "--coco", str(tmp_path / "coco"), "--stats", str(tmp_path / "stats"), *FAST]
    with subprocess.Popen(
        [sys.executable, "-I", "-c", PROGRAM, *argv], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 300
            while not (out.exists() and out.read_text().count("\n") >= 3):
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline, "the third frame has not come within five minutes"
                time.sleep(0.02)
            # Only now: before its first frame the command is interrupted like any other program.
            process.send_signal(number)
            _, error = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == code, error
    assert "stopping after the frames that were captured" in error
    assert "interrupted" in error
    rows = lines(out.read_text())
    assert [row["frame_id"] for row in rows] == list(range(len(rows)))
    assert isinstance(json.loads((tmp_path / "coco").read_text()), list)
    stats = json.loads((tmp_path / "stats").read_text())
    assert stats["processed"] == len(rows)
    assert stats["captured"] == len(rows) + sum(stats["dropped"].values())
    assert set(stats["dropped"]) <= {"closed"}, "what was captured is drained"
    source = sdk.Detector("pit-n", threads=1).stream(tmp_path / "out.mp4")
    assert sum(1 for _ in source) == len(rows)


def test_a_reader_that_leaves_is_no_traceback() -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", PROGRAM, "detect", SCENE.replace("frames=4", "frames=none"), *FAST],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert os.read(read, 1) == b"{"
    os.close(read)
    _, error = process.communicate(timeout=60)
    assert process.returncode == exits.FAILURE
    assert "Traceback" not in error


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_closed_streams_do_not_end_a_run(closed: str, tmp_path: Path) -> None:
    number, out = {"stdout": 1, "stderr": 2}[closed], tmp_path / "out.jsonl"
    command = [sys.executable, "-I", "-c", PROGRAM, "detect", SCENE, "--json", str(out), *FAST]
    shell = f'exec "$@" {number}>&-'
    done = subprocess.run(["sh", "-c", shell, "sh", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(lines(out.read_text())) == 4


def dataset(root: Path) -> Path:
    for name in ("images", "masks", "splits"):
        (root / name).mkdir(parents=True)
    views = list(Scene(SceneConfig(width=64, height=48, frames=3, seed=2)))
    for view in views:
        Image.fromarray(view.frame).save(root / "images" / f"{view.index}.png")
        Image.fromarray(view.mask.astype(np.uint8) * 255).save(root / "masks" / f"{view.index}.png")
    (root / "splits" / "val.txt").write_text("".join(f"{view.index}\n" for view in views))
    return root


def test_eval_prints_a_table_and_writes_json_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset(tmp_path / "toyset")
    argv = ["eval", "--data", str(data), "--draws", "10", *FAST]
    assert main(argv) == 0
    text = capsys.readouterr().out
    for word in ("toyset val", "IoU", "Pd", "Fa"):
        assert word in text
    assert main([*argv, "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sets"]["toyset val"]["metrics"]["images"] == 3
    assert "split toyset" in found["facts"]
    pytest.importorskip("matplotlib")
    assert main([*argv, "--report", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "report.html").stat().st_size > 0


def test_eval_names_a_set_whose_masks_hold_no_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = dataset(tmp_path / "good"), dataset(tmp_path / "bad")
    for path in (bad / "masks").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 127).astype(np.uint8)).save(path)
    argv = ["eval", "--data", str(good), "--data", str(bad), "--draws", "0", "--json", "-", *FAST]
    assert main(argv) == 0
    told = capsys.readouterr().err
    assert "bad: none of its masks holds a target" in told
    assert "good: none" not in told


def test_two_data_sets_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = dataset(tmp_path / "a" / "toyset"), dataset(tmp_path / "b" / "toyset")
    assert main(["eval", "--data", str(one), "--data", str(two), *FAST]) == exits.SOURCE
    assert "rename one" in capsys.readouterr().err
    argv = ["eval", "--data", str(one), "--data", f"{one}/", "--draws", "0", "--json", "-", *FAST]
    assert main(argv) == 0
    assert list(json.loads(capsys.readouterr().out)["sets"]) == ["toyset val"]


def test_eval_keeps_its_numbers_when_a_file_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["eval", "--data", str(dataset(tmp_path / "toyset")), "--draws", "0", *FAST]
    assert main([*argv, "--json", str(tmp_path)]) == exits.FAILURE
    assert capsys.readouterr().out == ""
    (tmp_path / "link").symlink_to("no/such/folder")
    assert main([*argv, "--json", str(tmp_path / "link")]) == exits.FAILURE
    captured = capsys.readouterr()
    assert "IoU" in captured.out
    assert "cannot be written" in captured.err


def test_the_demo_judges_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "out"), "--frames", "5", "--size", "96x64", *FAST]) == 0
    text = capsys.readouterr().out
    for word in ("targets found (Pd)", "objects per frame", "per million"):
        assert word in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "demo.json",
        "demo.jsonl",
        "demo.mp4",
    ]
    assert len(lines((tmp_path / "out" / "demo.jsonl").read_text())) == 5
    summary = json.loads((tmp_path / "out" / "demo.json").read_text())
    assert summary["metrics"]["images"] == summary["stream"]["processed"] == 5


def test_what_was_read_ahead_is_no_loss(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(folder), "--frames", "1", *FAST]) == 0
    printed = capsys.readouterr().err
    with sdk.Detector("pit-n", threads=1) as detector:
        found = len(detector.detect(np.asarray(Image.open(folder / "000.png"))))
    assert found >= 1
    assert f"1 frames, {found} targets" in printed
    assert "dropped" not in printed


def test_a_drawn_split_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dataset(tmp_path / "toyset")
    assert main(["eval", "--data", str(data), "--draws", "0", *FAST]) == 0
    assert "was drawn" not in capsys.readouterr().err
    (data / "splits" / "val.txt").unlink()
    assert main(["eval", "--data", str(data), "--draws", "0", *FAST]) == 0
    assert "has no list of val frames: about 1 of 6 train frames was drawn" in capsys.readouterr().err


def test_files_of_a_pattern_without_quotes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for words, hinted in ((["a.png", "b.png", "c.png", "d.png"], True), (["a.png", "--unknown", "3"], False)):
        with pytest.raises(SystemExit) as left:
            main(["detect", *words])
        assert left.value.code == 2
        said = capsys.readouterr().err
        assert "unrecognized arguments: " in said
        assert ("a pattern needs quotes: 'frames/*.png'" in said) == hinted
