# SPDX-License-Identifier: Apache-2.0
"""The pages show what they hold: a table whose rows do not fit its head puts numbers under the wrong name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rows_of_a_table_have_the_cells_of_its_head(page: Path) -> None:
    width, wrong = 0, []
    for line in FENCED.sub("", page.read_text()).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        width = width or cells
        if cells != width:
            wrong.append(f"{cells} cells under {width} columns: {line}")
    assert wrong == []
