# SPDX-License-Identifier: Apache-2.0
"""A folder with everything about an evaluation, and one HTML page that holds all of it."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pitviper.core.evaluation import Evaluation
from pitviper.core.report.plots import plot_curves
from pitviper.core.report.sheet import draw_sheet
from pitviper.core.report.table import conditions, format_table, table_rows

_WORST_ROWS = 20
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #20242a; background: #fff;
  margin: 0 auto; padding: 32px 24px 64px; max-width: 1400px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; }
p.note, dl { color: #59616b; margin: 4px 0 14px; font-size: 14px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; } dt { color: #20242a; } dd { margin: 0; }
dd { overflow-wrap: anywhere; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 22px 4px 0; text-align: right; border-bottom: 1px solid #e6e8eb; white-space: nowrap; }
th { font-weight: 600; border-bottom: 2px solid #c9cdd2; }
th:nth-child(1), td:nth-child(1) { text-align: left; }
table.metrics th:nth-child(2), table.metrics td:nth-child(2) { text-align: left; color: #59616b; }
td span { color: #7a828c; font-size: 13px; }
img { max-width: 100%; height: auto; display: block; }
"""


@dataclass(frozen=True)
class ReportFiles:
    """Where `write_report` put what. ``curves`` is None when none were asked for."""

    page: Path
    metrics: Path
    table: Path
    curves: Path | None
    sheets: tuple[Path, ...]


def write_report(
    evaluations: Mapping[str, Evaluation],
    folder: str | Path,
    *,
    title: str = "Evaluation",
    facts: Mapping[str, str] | None = None,
    curves: bool = True,
    figures: Mapping[str, bytes] | None = None,
) -> ReportFiles:
    """Write ``report.html``, ``metrics.json``, ``table.md``, ``curves.png`` and ``sheet-NAME.png`` for every set.

    Args:
        evaluations: By the name of the set, such as ``"nuaa-sirst val"``.
        folder: Created if missing; files of these names are overwritten.
        title: Heading of the page.
        facts: What was evaluated and how (model, command, commit, split hash), printed below the heading and stored.
        curves: Draw the curves; False where matplotlib is not wanted or no curves were evaluated.
        figures: Further PNG pictures by heading, shown after the table of metrics.

    Raises:
        MissingMatplotlib: Curves were asked for and matplotlib is not installed.
        ValueError: No evaluation, or curves were asked for and not evaluated.
        OSError: The folder cannot be written.
    """
    facts = dict(facts or {})
    # Everything that can be refused is made before the first file is written.
    table = format_table(evaluations, style="markdown")
    plot = plot_curves(evaluations) if curves else None
    sheets = {name: draw_sheet(evaluation, title=name) for name, evaluation in evaluations.items()}
    stored = {"title": title, "facts": facts, "sets": {name: e.to_dict() for name, e in evaluations.items()}}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = ReportFiles(
        page=folder / "report.html",
        metrics=folder / "metrics.json",
        table=folder / "table.md",
        curves=folder / "curves.png" if plot is not None else None,
        sheets=tuple(folder / f"sheet-{stem}.png" for stem in _stems(evaluations)),
    )
    files.metrics.write_text(json.dumps(stored, indent=1, allow_nan=False) + "\n", "utf-8")
    files.table.write_text(f"{table}\n", "utf-8")
    if files.curves is not None and plot is not None:
        files.curves.write_bytes(plot)
    pictures = [_png(sheet) for sheet in sheets.values()]
    for path, picture in zip(files.sheets, pictures, strict=True):
        path.write_bytes(picture)
    files.page.write_text(_page(evaluations, title, facts, dict(figures or {}), plot, pictures), "utf-8")
    return files


def _page(
    evaluations: Mapping[str, Evaluation],
    title: str,
    facts: Mapping[str, str],
    figures: Mapping[str, bytes],
    plot: bytes | None,
    sheets: list[bytes],
) -> str:
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        html_facts(facts),
        "<h2>Metrics</h2>",
        f'<div class="wide">{html_table(table_rows(evaluations), "metrics")}</div>',
        f'<p class="note">{html.escape(conditions(evaluations))}</p>',
    ]
    for heading, picture in figures.items():
        parts += [f"<h2>{html.escape(heading)}</h2>", html_image(picture, heading)]
    if plot is not None:
        parts += [
            "<h2>Curves</h2>",
            html_image(plot, "ROC, precision-recall, Pd against Fa, and metrics over thresholds"),
        ]
    for (name, evaluation), sheet in zip(evaluations.items(), sheets, strict=True):
        parts += [
            f"<h2>Misses and false alarms: {html.escape(name)}</h2>",
            html_image(sheet, f"Worst misses and false alarms of {name}"),
            f"<h2>Worst images: {html.escape(name)}</h2>",
            f'<div class="wide">{html_table(_worst(evaluation), "images")}</div>',
        ]
    return html_page(title, parts)


def html_page(title: str, parts: Iterable[str]) -> str:
    """A page that needs nothing from elsewhere, of parts that are HTML already."""
    body = "\n".join(part for part in parts if part)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">\
<title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def html_facts(facts: Mapping[str, str]) -> str:
    """A list of facts; nothing for none."""
    known = "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
    return f"<dl>{known}</dl>" if known else ""


def _worst(evaluation: Evaluation) -> list[list[str]]:
    rows = [["Image", "Size", "IoU", "Targets", "Missed", "False objects", "False pixels"]]
    for row in evaluation.rows[:_WORST_ROWS]:
        counts = (row.targets, row.missed, row.false_objects, row.false_pixels)
        rows.append([row.name, f"{row.width} x {row.height}", f"{100 * row.iou:.1f}", *map(str, counts)])
    return rows


def html_table(rows: list[list[str]], kind: str) -> str:
    """A table of text, its first row the head; ``kind`` is its class."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{_split(cell)}</td>" for cell in row) + "</tr>\n" for row in rows[1:]
    )
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'


def _split(cell: str) -> str:
    """A cell with its interval, if it has one, in fainter print."""
    text = html.escape(cell)
    return re.sub(r"^([-\d.]+) (\[[-\d., ]+\])$", r"\1 <span>\2</span>", text)


def html_image(png: bytes, description: str) -> str:
    """A picture within the page."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{html.escape(description, quote=True)}" src="data:image/png;base64,{data}">'


def _png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, format="PNG", optimize=True)
    return target.getvalue()


def _stems(names: Mapping[str, Evaluation]) -> list[str]:
    """File name parts of the sets: letters, digits, dot, dash; numbered where two would be the same."""
    stems: list[str] = []
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "set"
        stems.append(stem if stem not in stems else f"{stem}-{len(stems) + 1}")
    return stems
