# SPDX-License-Identifier: Apache-2.0
"""The interventions on the features of FDEP's main branch do what they are called, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from pitviper.core.models import create_model
from pitviper.core.vfm import FrozenVFM, TinyRandomViT
from pitviper.train.config import FDEPConfig
from pitviper.train.recipes.fdep import FDEPTask, MainBranch


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("fdep_use")


@pytest.fixture
def branch() -> MainBranch:
    """A main branch whose SAMF chain does something, unlike at the start of training."""
    torch.manual_seed(0)
    task = FDEPTask(create_model("pit-n"), FrozenVFM(TinyRandomViT(0)), FDEPConfig(crops=((1.0, 64),)))
    with torch.no_grad():
        for parameter in task.samf.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return task.main_branch().eval()


def test_each_intervention_is_what_it_is_called(script: ModuleType, branch: MainBranch) -> None:
    frame = torch.randn(1, 1, 64, 64)
    seen: list[Any] = []
    watch = branch.task.samf.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    with torch.no_grad():
        plain = branch(frame)
        outputs = {}
        for name in script.CONDITIONS:
            with script.Intervention(branch, name) as intervention:
                outputs[name] = branch(frame)
            assert len(intervention.changes) == 1
            assert intervention.changes[0] > 0.0
        again = branch(frame)
        skipped = branch.task.decode_main(branch.task.network.encode(frame))["final"]
        blank = branch.task.vfm(torch.zeros_like(frame))
    watch.remove()
    levels = dict(zip(script.CONDITIONS, seen[1:], strict=False))
    assert torch.equal(outputs["as they are"], plain)
    assert torch.equal(again, plain), "an intervention outlived its block"
    assert torch.equal(outputs["no samf"], skipped)
    assert all(torch.equal(a, b.flip(2, 3)) for a, b in zip(levels["turned"], seen[0], strict=True))
    assert all(not level.any() for level in levels["zero"])
    assert all(torch.equal(a, b) for a, b in zip(levels["blank"], blank, strict=True))
    assert not torch.equal(outputs["zero"], plain)


def test_summary_pairs_seeds(script: ModuleType) -> None:
    def run(seed: int, plain: float, other: float) -> dict[str, Any]:
        iou = {name: {"s": plain if name == script.AS_THEY_ARE else other} for name in script.CONDITIONS}
        return {"condition": "c", "seed": seed, "iou": iou}

    rows = script.summarise([run(0, 0.2, 0.1), run(1, 0.9, 0.8)])
    turned = next(row for row in rows if row["features"] == "turned")
    assert turned["difference"]["mean"] == pytest.approx(-0.1)
    assert turned["difference"]["high"] == pytest.approx(-0.1, abs=1e-9), "the spread between seeds is gone"
