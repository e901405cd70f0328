# SPDX-License-Identifier: Apache-2.0
"""What comparisons of trainings share: wrong conditions are refused at once."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.mark.parametrize(
    ("script", "conditions", "message"),
    [
        ("fdep", ["oracle"], "unknown condition 'oracle'; known are supervised, random, in-domain"),
        ("fdep", ["in-domain"], "in-domain needs --prior FILE"),
        ("fdep", ["dino+lr=1"], "'lr=1' is no SETTING=VALUE of fdep; settings are distillation"),
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
