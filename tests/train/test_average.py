# SPDX-License-Identifier: Apache-2.0
"""Weights between the end of a run and its start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pitviper.core.manifest import file_record
from pitviper.core.models import create_model
from pitviper.train.average import average_with_start
from pitviper.train.cli import main
from pitviper.train.report import report_run
from pitviper.train.run import load_run


@pytest.fixture
def fine_tuned(tmp_path: Path) -> tuple[Path, Path]:
    """A finished run of pit-n and the weights that its summary says it started from."""
    torch.manual_seed(0)
    start, folder = tmp_path / "start.safetensors", tmp_path / "run"
    folder.mkdir()
    save_file(create_model("pit-n").state_dict(), start)
    save_file(create_model("pit-n").state_dict(), folder / "last.safetensors")
    init = {"weights": start.name, **file_record(start.read_bytes())}
    (folder / "run.json").write_text(json.dumps({"config": {"model": "pit-n"}, "init": init}))
    return folder, start


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_weights_lie_on_the_line(fine_tuned: tuple[Path, Path], tmp_path: Path, share: float) -> None:
    folder, start = fine_tuned
    output = average_with_start(folder, start, tmp_path / "average", share=share)
    network, summary = load_run(output, "last")
    first, ended = load_file(start), load_file(folder / "last.safetensors")
    for name, value in network.state_dict().items():
        expected = share * ended[name] + (1 - share) * first[name]
        if value.is_floating_point():
            torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-7)
    assert summary["average"]["share_of_the_run"] == share


def test_the_best_weights_are_averaged_where_they_are_asked_for(
    fine_tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, start = fine_tuned
    best = create_model("pit-n").state_dict()
    save_file(best, folder / "best.safetensors")
    output = tmp_path / "average"
    words = ["average", str(folder), str(start), "--share", "0.9", "--weights", "best", "--out", str(output)]
    assert main(words) == 0
    network, summary = load_run(output, "last")
    key = next(name for name, value in best.items() if value.ndim > 1)
    expected = 0.9 * best[key] + 0.1 * load_file(start)[key]
    torch.testing.assert_close(network.state_dict()[key], expected, rtol=1e-6, atol=1e-7)
    assert summary["average"]["of_the_run"] == "best"


def test_other_start_is_refused(fine_tuned: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = fine_tuned
    with pytest.raises(ValueError, match=r"is not what .* started from"):
        average_with_start(folder, folder / "last.safetensors", tmp_path / "average", share=0.5)


def test_share_outside_the_line_is_refused(fine_tuned: tuple[Path, Path], tmp_path: Path) -> None:
    folder, start = fine_tuned
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got 1.5"):
        average_with_start(folder, start, tmp_path / "average", share=1.5)


def test_an_average_is_reported_as_what_it_is(finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder, start = tmp_path / "run", tmp_path / "start.safetensors"
    shutil.copytree(finished, folder)
    save_file(create_model("pit-n").state_dict(), start)
    summary = json.loads((folder / "run.json").read_text())
    init = {"weights": start.name, **file_record(start.read_bytes())}
    (folder / "run.json").write_text(json.dumps(summary | {"init": init}))
    output = average_with_start(folder, start, tmp_path / "average", share=0.75)
    for which in ("best", "last"):
        page = report_run(output, tmp_path / which, which=which).read_text()
        assert "75% the last weights of the run, the rest those it started from" in page
        assert "epoch 3 of 3" not in page


def test_a_run_from_random_weights_has_nothing_to_average_with(
    fine_tuned: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, start = fine_tuned
    (folder / "run.json").write_text(json.dumps({"config": {"model": "pit-n"}}))
    with pytest.raises(ValueError, match="was not started with --init, so there are no weights to average"):
        average_with_start(folder, start, tmp_path / "average", share=0.5)
