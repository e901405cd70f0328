# SPDX-License-Identifier: Apache-2.0
"""Tables of the pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of one line each.

    Raises:
        ValueError: A row has more or fewer cells than the head, which a page would show in the wrong columns.
    """
    lines = [head, ["---"] * len(head), *rows]
    for line in lines:
        if len(line) != len(head):
            raise ValueError(f"a row of {len(line)} cells under {len(head)} columns: {list(line)}")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
