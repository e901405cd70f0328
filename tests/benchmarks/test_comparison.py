# SPDX-License-Identifier: Apache-2.0
"""What comparisons of trainings share: wrong conditions are refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

CHANGED = "supervised+keep=0.5+augmentation.gain=0.6+augmentation.warp=0"


@pytest.mark.parametrize(
    ("script", "conditions", "message"),
    [
        ("fdep", ["oracle"], "unknown condition 'oracle'; known are supervised, random, in-domain"),
        ("fdep", ["in-domain"], "in-domain needs --prior FILE"),
        ("fdep", ["dino+lr=1"], "'lr=1' is no SETTING=VALUE of fdep; settings are distillation"),
        ("frontier", ["pal"], r"unknown condition 'pal'; known are supervised and supervised\+SETTING=VALUE"),
        ("frontier", ["supervised+strength=1"], "'strength=1' is no SETTING=VALUE of supervised"),
        ("frontier", ["supervised+model=acm"], "'model=acm' is no SETTING=VALUE of supervised"),
        ("frontier", ["supervised+crops=192"], "'crops=192' is no SETTING=VALUE of supervised"),
        (
            "frontier",
            ["supervised+augmentation.blur=1"],
            "'augmentation.blur=1' is no SETTING=VALUE of supervised",
        ),
        ("points", ["pal+augmentation.gain=1"], "'augmentation.gain=1' is no SETTING=VALUE of pal"),
        ("points", ["oracle"], "unknown condition 'oracle'; known are supervised, pal"),
        ("points", ["semantic_priors"], "semantic_priors needs --prior FILE"),
        ("points", ["pal+lr=1"], "'lr=1' is no SETTING=VALUE of pal; settings are .*least_share"),
    ],
)
def test_bad_conditions_are_refused_before_any_training(
    benchmark_script: Callable[[str], ModuleType], script: str, conditions: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        benchmark_script(script).read_options(["--work", "w", "--data", "d", "--conditions", *conditions])


def test_a_setting_of_full_supervision_is_compared_with_the_default(
    benchmark_script: Callable[[str], ModuleType],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Once for each seed, and not again."""
    words = ["--work", str(tmp_path / "w"), "--results", str(tmp_path), "--data", str(data), "--epochs", "1"]
    words += [
        "--crop",
        "32",
        "--batch",
        "2",
        "--seeds",
        "0",
        "--conditions",
        "supervised",
        CHANGED,
    ]
    script = benchmark_script("frontier")
    assert script.main(words) == 0
    written = (tmp_path / "w" / f"pit-n-{CHANGED}-0" / "run.json").read_text()
    config = json.loads(written)["config"]
    assert config["keep"] == 0.5
    assert (config["augmentation"]["gain"], config["augmentation"]["warp"]) == (0.6, 0.0)
    result = json.loads((tmp_path / "frontier.json").read_text())
    assert [run["condition"] for run in result["runs"]] == ["supervised", CHANGED]
    assert result["summary"][1]["iou"]["difference"]["count"] == 1
    assert "Difference to supervised" in capsys.readouterr().out
    assert script.main([*words, "--finished"]) == 0
    assert json.loads((tmp_path / "frontier.json").read_text())["runs"] == result["runs"]
