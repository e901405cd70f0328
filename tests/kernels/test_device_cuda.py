# SPDX-License-Identifier: Apache-2.0
"""The CUDA device of the runtime against a CUDA runtime that is not there: copies, streams, events, graphs, failures.

``device_cuda.cu`` is compiled by the C++ compiler with a ``cuda_runtime.h`` of its own (tests/kernels/fake_cuda), whose
streams run as late as CUDA allows; launches run the bodies of the kernels on the host. It is no GPU: what the kernels
do there, and what the driver does with them, is not shown.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pitviper import sdk
from pitviper.core.plan import Op, build_plan

OK, ARGUMENT, FRAME, DEVICE, EMPTY = 0, 1, 3, 4, 8
YES = 1


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, tuple[int, str]]:
    """What the program told of each case: a status or an answer, and the sentence."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the PATH")
    folder = tmp_path_factory.mktemp("fake")
    plan = folder / "pit-n.plan"
    plan.write_bytes(build_plan(sdk.open_model("pit-n")).to_bytes())
    commands = (
        ["cmake", "-S", str(root / "tests/kernels/fake_cuda"), "-B", str(folder)],
        ["cmake", "--build", str(folder), "--parallel", "2"],
        [str(folder / "scenarios"), str(plan)],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    lines = (line.split("|") for line in done.stdout.splitlines())
    return {name: (int(number), text) for name, number, text in lines}


def test_frames_of_every_place_and_form_are_those_of_the_cpu(cases: dict[str, tuple[int, str]]) -> None:
    """To the last bit, the maps too: the same bodies run in both."""
    assert cases["device"] == (YES, "cuda:0 Fake 0"), "fp16 unless told otherwise"
    places = ("pageable", "pinned", "gpu", "upside down", "pinned upside down")
    names = (*places, "float", "part", "map", "network", "log-odds")
    assert {name: cases[name][0] for name in names} == dict.fromkeys(names, YES)


def test_a_component_is_whole_however_long_the_way_to_its_root_stayed(
    cases: dict[str, tuple[int, str]],
) -> None:
    """Threads on a GPU may put an earlier ancestor back while others shorten the same way."""
    assert cases["chain"][0] == 4


def test_two_frames_are_in_flight_while_nothing_has_run_yet(cases: dict[str, tuple[int, str]]) -> None:
    assert cases["flight"][0] == YES
    assert cases["early"] == (EMPTY, "the frame is not finished")


def test_times_are_those_of_the_events_around_each_operation(cases: dict[str, tuple[int, str]]) -> None:
    plan = build_plan(sdk.open_model("pit-n"))
    inner = ["residual_block 2.0" if one.op is Op.RESIDUAL else "conv_block 1.0" for one in plan.launches]
    assert cases["profile"] == (OK, "")
    events, told = cases["times"]
    assert events == YES
    assert told.rstrip(",").split(",") == ["standardise 0.5", *inner, "extract_targets 4.0"]
    assert cases["little room"] == (ARGUMENT, f"a frame has {len(inner) + 2} operations, room is for 3")


@pytest.mark.parametrize(
    ("case", "status", "words"),
    [
        ("no such gpu", DEVICE, "device cuda:2 cannot be had: there are 2"),
        (
            "no code",
            DEVICE,
            "no code for Fake 0 (sm_72) (the library holds code for sm_87, sm_90, compute_90)",
        ),
        ("no driver", DEVICE, "CUDA driver version is insufficient"),
        ("other device", DEVICE, "the frame lies on cuda:1, this detector runs on cuda:0"),
        ("freed", DEVICE, "not (or no longer) known to CUDA"),
        ("other stream", DEVICE, "it must belong to this detector's device: invalid resource handle"),
        ("backwards", FRAME, "must have its first row first"),
        ("and again", OK, ""),
        ("broken", DEVICE, "an illegal memory access was encountered"),
        ("still broken", DEVICE, "an illegal memory access was encountered"),
        ("closed", OK, ""),
    ],
)
def test_what_cannot_be_had_is_a_status_with_a_sentence(
    cases: dict[str, tuple[int, str]], case: str, status: int, words: str
) -> None:
    found, text = cases[case]
    assert found == status
    assert words in text if words else not text


def test_memory_that_runs_out_at_any_piece_leaves_the_detector_usable(
    cases: dict[str, tuple[int, str]],
) -> None:
    refusals, text = cases["memory"]
    assert refusals >= 20, "not every piece was refused once, or a frame failed with memory again"
    assert "out of memory" in text


def test_a_refused_launch_ends_its_frame_alone(cases: dict[str, tuple[int, str]]) -> None:
    assert cases["refused"][0] == YES


def test_ten_thousand_frames_make_nothing_new(cases: dict[str, tuple[int, str]]) -> None:
    """Counted: memory of host and device, streams, events, graphs, and launches outside of a graph."""
    assert cases["steady"] == (YES, "0")


def test_nothing_is_left_behind_and_the_applications_device_stays_current(
    cases: dict[str, tuple[int, str]],
) -> None:
    assert (cases["left behind"][0], cases["left behind again"][0]) == (0, 0)
    assert cases["current"][0] == 0
