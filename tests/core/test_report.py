# SPDX-License-Identifier: Apache-2.0
"""Reports: the table, what is drawn on the sheet, curves, and a page that needs nothing else."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper.core.datasets import Sample
from pitviper.core.evaluation import Evaluation, Event, evaluate
from pitviper.core.metrics import DetectionMetrics
from pitviper.core.report import MissingMatplotlib, draw_sheet, format_table, plot_curves, write_report
from pitviper.core.report.sheet import PREDICTION, TRUTH, caption, draw_event


def run(folder: Path, *, curves: bool = True, found: bool = False) -> Evaluation:
    """Two frames with one target each; it is missed, and something else is predicted, unless ``found``."""
    samples = []
    for index in range(2):
        frame, mask = np.full((60, 60), 50, np.uint8), np.zeros((60, 60), np.uint8)
        frame[20:23, 30:33], mask[20:23, 30:33] = 200, 255
        Image.fromarray(frame).save(folder / f"f{index}.png")
        Image.fromarray(mask).save(folder / f"m{index}.png")
        samples.append(Sample(f"frame {index} <&>", folder / f"f{index}.png", folder / f"m{index}.png"))

    def predict(frame: Any) -> Any:
        shown = (frame > 100).astype(np.float32) * 0.8
        return shown if found else np.roll(shown, 12, axis=0)

    return evaluate(predict, samples, metrics=DetectionMetrics(curves=curves), draws=50)


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    return run(tmp_path)


def event(**changes: Any) -> Event:
    truth = np.zeros((40, 40), np.bool_)
    truth[20, 20] = True
    predicted = np.zeros((40, 40), np.bool_)
    predicted[30:33, 10:13] = True
    base = Event("miss", "a", 20.5, 20.5, 1, 0.1, None, np.arange(40 * 40).reshape(40, 40), truth, predicted)
    return replace(base, **changes)


def test_format_table(evaluation: Evaluation, tmp_path: Path) -> None:
    good = run(tmp_path, found=True)
    text = format_table({"bad": evaluation, "good": good})
    pd = next(line for line in text.splitlines() if line.startswith("Pd "))
    assert re.split(r"\s{2,}", pd) == ["Pd", "%", "0.00 [0.00, 0.00]", "100.00 [100.00, 100.00]"]
    assert "HSE (hse-v0)" in text
    assert "probability > 0.5, centroids less than 3 px apart" in text
    assert "95% bootstrap" in text
    markdown = format_table({"bad": evaluation, "good": good}, style="markdown").splitlines()
    assert markdown[0].startswith("| Metric")
    assert set(markdown[1]) <= set("|-: ")
    widths = {len(line) for line in markdown if line.startswith("|")}
    assert len(widths) == 1
    with pytest.raises(ValueError, match="no evaluation"):
        format_table({})


def test_table_leaves_out_what_no_set_has(tmp_path: Path) -> None:
    assert "HSE" not in format_table({"quick": run(tmp_path, curves=False)})


@pytest.mark.parametrize("pixel", [(0, 0), (20, 20), (39, 39)])
def test_outlines_enclose_the_pixel_and_leave_it_visible(pixel: tuple[int, int]) -> None:
    """One pixel is 7 x 7 in the picture: truth runs around it, and its middle shows the frame."""
    truth = np.zeros((40, 40), np.bool_)
    truth[pixel] = True
    picture = np.asarray(draw_event(event(truth=truth, predicted=truth)))
    y, x = pixel[0] * 7, pixel[1] * 7
    green = (picture == TRUTH).all(axis=2)
    orange = (picture == PREDICTION).all(axis=2)
    ring = np.zeros((280, 280), np.bool_)
    ring[max(0, y - 2) : y + 9, max(0, x - 2) : x + 9] = True
    ring[y : y + 7, x : x + 7] = False
    assert (green == ring).all()
    assert orange.sum() == 7 * 7 - 3 * 3
    middle = picture[y + 3, x + 3]
    assert (middle == middle[0]).all()


def test_the_frame_is_stretched_and_small_windows_are_centred() -> None:
    nothing = np.zeros((20, 32), np.bool_)
    frame = np.zeros((20, 32), np.uint16)
    frame[:, 16:] = 16383
    picture = np.asarray(draw_event(event(frame=frame, truth=nothing, predicted=nothing)))
    assert picture.shape == (280, 280, 3)
    assert picture[140, 20].tolist() == [0, 0, 0]
    assert picture[140, 260].tolist() == [255, 255, 255]
    assert picture[5, 140].tolist() == picture[-5, 140].tolist() != [0, 0, 0]
    flat = draw_event(event(frame=np.full((40, 40), 7.0), truth=nothing[:, :1], predicted=nothing[:, :1]))
    assert np.asarray(flat)[100, 100].tolist() == [0, 0, 0]


def test_caption() -> None:
    assert caption(event()) == ("a", "(20, 20)   1 px   p 0.10", "")
    assert caption(event(nearest_px=3.27))[2] == "prediction 3.3 px off"
    assert caption(event(kind="false alarm", nearest_px=3.27))[2] == "target 3.3 px off"
    assert caption(event(nearest_px=200.0))[2] == ""


def test_draw_sheet_grows_with_its_events(evaluation: Evaluation, tmp_path: Path) -> None:
    sheet = draw_sheet(evaluation, title="a set with a name that is much too long " * 8)
    empty = draw_sheet(run(tmp_path, found=True), title="all found")
    assert sheet.mode == empty.mode == "RGB"
    assert sheet.width == empty.width
    assert sheet.height > empty.height + 2 * 280
    colours = np.asarray(sheet)[100:].reshape(-1, 3)
    for colour in (TRUTH, PREDICTION):
        assert (colours == colour).all(axis=1).any()
        assert not (np.asarray(empty)[100:].reshape(-1, 3) == colour).all(axis=1).any()


def test_plot_curves(evaluation: Evaluation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    before = "matplotlib.pyplot" in sys.modules
    image = Image.open(io.BytesIO(plot_curves({"bad": evaluation, "good": run(tmp_path, found=True)})))
    assert (image.format, image.size) == ("PNG", (1320, 968))
    assert ("matplotlib.pyplot" in sys.modules) == before
    with pytest.raises(ValueError, match="quick: evaluated without curves"):
        plot_curves({"quick": run(tmp_path, curves=False)})
    with pytest.raises(ValueError, match="between 1 and 6"):
        plot_curves({})


def test_missing_matplotlib_names_the_extra(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingMatplotlib, match=r'pip install "pitviper\[viz\]"'):
        write_report({"set": evaluation}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    files = write_report({"set": evaluation}, tmp_path / "out", curves=False)
    assert files.curves is None
    assert "<h2>Curves" not in files.page.read_text("utf-8")


class Page(HTMLParser):
    """Collects images and cells, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.sources.append(str(dict(attrs)["src"]))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_write_report(evaluation: Evaluation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sets = {"set/a val": evaluation, "set a val": evaluation}
    files = write_report(sets, tmp_path / "out", title="<Title>", facts={"Model": "pit-s & co"})
    page = Page()
    page.feed(files.page.read_text("utf-8"))
    assert page.open == []
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "http" not in files.page.read_text("utf-8")
    assert {"<Title>", "pit-s & co", "frame 0 <&>", "set/a val"} <= set(page.text)
    assert files.curves is not None
    assert len(set(files.sheets)) == 2
    for path in (*files.sheets, files.curves):
        with Image.open(path) as image:
            image.verify()
    stored = json.loads(files.metrics.read_text("utf-8"))
    assert stored["facts"] == {"Model": "pit-s & co"}
    assert stored["sets"]["set/a val"]["metrics"]["pd"] == 0.0
    assert files.table.read_text("utf-8").startswith("| Metric")
