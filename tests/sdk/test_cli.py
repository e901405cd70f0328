# SPDX-License-Identifier: Apache-2.0
"""The command line: stdout is data, stderr is for people, and each failure has its exit code."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pitviper import sdk
from pitviper.core.manifest import OperatingPoint
from pitviper.sdk import errors
from pitviper.sdk.cli import build_parser, exits, main
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.engines import registry
from pitviper.sdk.engines.base import EngineStatus

FAST = ["--threads", "1"]


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in ("detect", "eval", "export", "models", "doctor", "bench", "demo", "130 interrupted"):
        assert word in text


def test_help_loads_no_runtime() -> None:
    code = (
        "import sys\nfrom pitviper.sdk.cli import build_parser\nbuild_parser()\n"
        "print([name for name in ('torch', 'onnxruntime', 'av', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nothing"],
        ["detect"],
        ["bench", "--size", "640"],
        ["models", "--wrong"],
        ["bench", "--thread", "1"],
    ],
)
def test_usage_errors_exit_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == exits.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage:" in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("x"), 2),
        (errors.SourceError("x"), 3),
        (errors.SourceTimeout("x"), 3),
        (errors.UnsafeWeights("x"), 4),
        (errors.IntegrityError("x"), 4),
        (errors.EngineUnavailable("x"), 4),
        (errors.DeviceUnavailable("x"), 5),
        (errors.AccuracyGate("x"), 6),
        (errors.SinkError("x"), 1),
        (errors.MissingExtra("x"), 1),
        (ZeroDivisionError("x"), None),
    ],
)
def test_each_error_has_its_code(error: Exception, code: int | None) -> None:
    assert exits.exit_code(error) == code


@pytest.mark.parametrize(
    "words",
    [
        "in.mp4 out.mp4 --json f --every 2",
        "in.mp4 --json f out.mp4 --every 2",
        "in.mp4 --json f --every 2 out.mp4",
        "--json f in.mp4 --every 2 out.mp4",
        "--json f --every 2 in.mp4 out.mp4",
        "--json=f --every=2 -- in.mp4 out.mp4",
    ],
)
def test_an_output_may_stand_behind_options(words: str) -> None:
    args = build_parser().parse_args(["detect", *words.split()])
    assert (args.input, args.output, args.json, args.every) == ("in.mp4", "out.mp4", "f", 2)


def test_arguments_too_many_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["detect", "in.mp4", "--json", "f", "out.mp4", "other.mp4"])
    assert "unrecognized arguments: other.mp4" in capsys.readouterr().err
    args = build_parser().parse_args(["detect", "in.mp4", "--json", "f"])
    assert (args.input, args.output) == ("in.mp4", None)


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_exits_5(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", "synthetic://sky?frames=1", "--device", device]) == exits.DEVICE
    assert f"no engine can run on device '{device}'" in capsys.readouterr().err


def test_an_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "nothing-like-it"]) == exits.MODEL_OR_ENGINE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "nothing-like-it" in captured.err
    assert "pit-s" in captured.err
    with pytest.raises(errors.ModelError):
        main(["models", "nothing-like-it", "--debug"])


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr("pitviper.sdk.model.list_models", broken)
    with pytest.raises(ZeroDivisionError):
        main(["models"])


def test_an_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("pitviper.sdk.model.list_models", interrupted)
    assert main(["models"]) == exits.INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_models_are_listed_and_described(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    for word in ("pit-m", "pit-n", "pit-s", "GMAC at 256x256", "Fa px/Mpx", "licence"):
        assert word in text
    assert main(["models", "pit-s"]) == 0
    text = capsys.readouterr().out
    assert "provenance" in text
    assert "nudt-sirst (531 frames, 2 times an epoch)" in text, "a set that was given twice is one line"
    assert main(["models", "pit-s", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "pit-s"
    assert main(["models", "--json", str(tmp_path / "models.json")]) == 0
    assert capsys.readouterr().out == ""
    assert [entry["name"] for entry in json.loads((tmp_path / "models.json").read_text())] == [
        "pit-m",
        "pit-n",
        "pit-s",
    ]


def test_a_model_shows_its_cost_and_what_is_known_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cost = {"deployed": {"parameters": 363_444, "gmac_256x256": 0.9657}}
    unmeasured = OperatingPoint("default", 0.4, "not measured", None, None, None)
    metrics = {"sky": {"split": "val", "images": 86, "iou": 0.7012, "pd": None, "fa_per_mpix": 12.34}}
    shipped = sdk.open_model("pit-n")
    manifest = replace(
        shipped.manifest, name="toy", architecture=cost, operating_points=(unmeasured,), metrics=metrics
    )
    monkeypatch.setattr("pitviper.sdk.model.open_model", lambda name: replace(shipped, manifest=manifest))
    assert main(["models", "toy"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["toy", "0.363", "0.966", "0.4", *manifest.licence.split()] in rows
    assert ["toy", "sky", "val", "86", "70.1", "-", "-", "12.3", "-"] in rows
    assert ["default", "0.4", "not", "measured", "-", "-", "-"] in rows


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_line() -> None:
    program = "import sys; from pitviper.sdk.cli import main; sys.exit(main(sys.argv[1:]))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program, "models"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == exits.FAILURE
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_doctor_finds_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in ("python", "numpy", "onnxruntime", "host", "pit-s", "gpu", "detector"):
        assert word in text
    assert main(["doctor", "--json", "-"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert findings["detector"]["usable"]
    found = [entry["name"] for entry in findings["engines"]]
    assert found == ["onnxruntime", "openvino", "torch", "cuda", "torch-fused"]
    for entry in findings["engines"]:
        assert entry["usable"] == ("targets in a test frame" in entry["note"]), (
            "what is called usable has run"
        )


def test_doctor_names_an_engine_that_is_installed_and_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ImportError("libruntime.so.1: cannot open shared object file")

    offer = registry.ENGINES["openvino"]
    installed = EngineStatus("openvino", True, "installed", "1.0")
    monkeypatch.setitem(registry.ENGINES, "openvino", offer._replace(status=lambda: installed, build=broken))
    assert main(["doctor"]) == 0, "the default engine runs"
    assert "-- openvino: libruntime.so.1: cannot open" in capsys.readouterr().out


def test_doctor_says_when_nothing_can_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pitviper.sdk.model.SHIPPED", tmp_path)
    assert main(["doctor"]) == exits.MODEL_OR_ENGINE
    assert "no model was installed" in capsys.readouterr().out


def test_bench_prints_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "--model", "pit-n", "--size", "96x64", "--seconds", "0.1", *FAST]
    assert main(argv) == 0
    text = capsys.readouterr().out
    for word in (
        "standardise",
        "network",
        "extract",
        "rest",
        "total",
        "frame 96x64 uint16",
        "around the network",
    ):
        assert word in text
    assert main([*argv, "--json", "-"]) == 0
    profile = json.loads(capsys.readouterr().out)["profiles"][0]
    assert (profile["model"], profile["shape"]) == ("pit-n", [64, 96])
    assert main([*argv, "--fail-over-ms", "1e-6"]) == exits.LATENCY
    assert main([*argv, "--fail-over-ms", "1e9"]) == 0


def test_bench_against_a_published_network(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    argv = ["bench", "--model", "pit-n", "--size", "96x64", "--seconds", "0.1", "--against", "acm", *FAST]
    assert main(argv) == 0
    assert "pit-n whole takes" in capsys.readouterr().out


def test_export_reports_what_it_wrote(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = str(tmp_path / "out.onnx")
    assert main(["export", target, "--model", "pit-n", *FAST]) == 0
    assert "sha256" in capsys.readouterr().out
    assert main(["export", target, "--model", "pit-n", "--json", "-", *FAST]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == target
    assert main(["export", str(tmp_path / "no" / "out.onnx"), "--model", "pit-n", *FAST]) == exits.FAILURE


def test_logs_go_to_stderr_or_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = list(logging.getLogger("pitviper").handlers)
    argv = ["export", str(tmp_path / "o.onnx"), "--model", "pit-n", *FAST]
    assert main([*argv, "--verbose"]) == 0
    captured = capsys.readouterr()
    assert "chosen automatically" in captured.err
    assert "chosen automatically" not in captured.out
    assert main([*argv, "-v", "--log-file", str(tmp_path / "log")]) == 0
    assert "chosen automatically" not in capsys.readouterr().err
    assert "chosen automatically" in (tmp_path / "log").read_text()
    assert main([*argv, "--log-file", str(tmp_path / "no" / "log")]) == exits.FAILURE
    assert logging.getLogger("pitviper").handlers == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_does_not_tear_results_on_the_same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for printed, shown in ((Terminal(), False), (io.StringIO(), True)):
        screen = Terminal()
        monkeypatch.setattr("sys.stdout", printed)
        with ProgressLine(4, stream=screen, beside=True) as progress:
            progress.step()
        assert bool(screen.getvalue()) == shown


def test_progress_is_for_terminals_only() -> None:
    screen, pipe = Terminal(), io.StringIO()
    for stream in (screen, pipe):
        with ProgressLine(4, stream=stream) as progress:
            for _ in range(4):
                progress.step("2 targets")
    assert "25%" in screen.getvalue()
    assert "\n" not in screen.getvalue()
    assert pipe.getvalue() == ""


def test_every_command_has_the_logging_options() -> None:
    actions: Any = build_parser()._subparsers
    commands = actions._group_actions[0].choices
    assert {"predict", "val"} < set(commands)
    for parser in commands.values():
        assert "--log-level" in parser.format_help()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["detect", "{long}"], 3),
        (["detect", "{source}", "--json", "{long}"], 1),
        (["detect", "{source}", "--model", "{long}"], 1),
    ],
)
def test_a_path_that_the_system_refuses_is_a_sentence(
    words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name too long stands for all that cannot even be looked at, such as a file in a locked folder."""
    names = {"long": "x" * 300, "source": "synthetic://?frames=1&width=64&height=64"}
    assert main([word.format(**names) for word in words]) == code
    printed = capsys.readouterr()
    assert "too long" in printed.err
    assert "Traceback" not in printed.err
