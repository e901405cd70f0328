# SPDX-License-Identifier: Apache-2.0
"""The page of ``pitviper serve`` in a real browser: headless Chromium, no internet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

for _module in ("starlette", "uvicorn"):
    pytest.importorskip(_module, reason="the extra web is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Page

Until = Callable[[Any, str], None]


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = serve(tmp_path_factory.mktemp("serve"))
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.fixture
def page(watched: Callable[..., Page], server: Any) -> Page:
    made = watched(server.url)
    made.wait_for_selector("#state[data-state='live']")
    made.wait_for_selector("#picture[data-number]")
    return made


def drawn(page: Page) -> str:
    content: str = page.evaluate("document.getElementById('picture').toDataURL()")
    return content


def test_the_picture_moves_and_the_targets_are_listed(page: Page, until: Until) -> None:
    first, number = drawn(page), int(page.get_attribute("#picture", "data-number") or 0)
    until(page, f"Number(document.getElementById('picture').dataset.number) > {number + 3}")
    assert drawn(page) != first
    until(page, "document.querySelectorAll('#rows tr').length >= 1")
    assert page.text_content("#source") == "synthetic://terrain?seed=4"
    assert "pit-n on onnxruntime" in (page.text_content("#about") or "")


def test_the_slider_changes_the_count(page: Page, until: Until) -> None:
    def slide(value: float) -> None:
        page.evaluate(
            "value => { const slider = document.getElementById('threshold'); slider.value = value;"
            " slider.dispatchEvent(new Event('input')); slider.dispatchEvent(new Event('change')); }",
            value,
        )

    slide(0.01)
    until(page, "Number(document.getElementById('count').textContent) > 0")
    slide(0.99)
    page.wait_for_selector("#events li:has-text('Threshold 0.99.')")
    until(
        page,
        "[...document.querySelectorAll('#rows td:nth-child(4)')].every(cell => Number(cell.textContent) >= 0.99)",
    )
    assert page.text_content("#threshold-value") == "0.99"
    page.click("#reset")
    page.wait_for_selector("#events li:has-text('Threshold 0.5.')")
    page.wait_for_selector("#reset:disabled")
    assert page.text_content("#threshold-value") == "0.5"


def test_recording_and_snapshot(page: Page, server: Any) -> None:
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed='true']")
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed='false']")
    page.wait_for_selector("#events li:has-text('finished')")
    with page.expect_download() as download:
        page.click("#snapshot")
    assert re.fullmatch(r"snapshot-\w+-\d+\.zip", download.value.suggested_filename)
    folder = Path(server.command[server.command.index("--record-dir") + 1])
    assert [each.name for each in folder.iterdir()]


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_cut_off_at_any_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    box = page.locator("#picture").bounding_box()
    assert box is not None
    assert box["width"] >= 0.5 * min(width, 900)
    for name in ("snapshot", "record", "hold"):
        button = page.locator(f"#{name}").bounding_box()
        assert button is not None
        assert button["height"] >= 40, "a finger hits it"


def test_the_name_of_a_source_is_text(
    watched: Callable[..., Page], serve: Callable[..., Any], tmp_path: Path
) -> None:
    name = "<img src=x onerror=document.title=1>'\"&amp;${1}"
    folder = tmp_path / name
    folder.mkdir()
    for number in range(3):
        frame = np.random.default_rng(number).normal(7800, 12, (64, 64)).astype(np.uint16)
        Image.fromarray(frame).save(folder / f"{number}.png")
    server = serve(tmp_path, source=str(folder))
    server.start()
    try:
        page = watched(server.url)
        page.wait_for_selector("#picture[data-number]")
        assert (page.text_content("#source") or "").endswith(name)
        assert page.locator("img[src=x]").count() == 0
        assert page.title().endswith(name), "nothing in it was run"
    finally:
        server.stop()


def test_the_page_comes_back_after_the_server_was_started_again(
    page: Page, server: Any, until: Until
) -> None:
    assert server.stop() == 130
    page.wait_for_selector("#state[data-state='no connection']")
    server.start()
    page.wait_for_selector("#state[data-state='live']")
    number = int(page.get_attribute("#picture", "data-number") or 0)
    until(page, f"Number(document.getElementById('picture').dataset.number) !== {number}")


def test_labels_of_neighbours_are_not_printed_over_each_other(page: Page) -> None:
    lines = page.evaluate(
        """async () => {
          const { Picture } = await import(new URL("picture.js", document.querySelector("script[src]").src).href);
          const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
          const picture = new Picture(canvas);
          for (const [x, y] of [[100, 100], [110, 103], [120, 98], [400, 100]]) picture.label("12 0.95", x, y, "#fff");
          return picture.taken;
        }"""
    )
    tops = [top for _, top, _ in lines]
    assert tops[3] == 100, "one that nothing blocks stays where it is"
    assert min(abs(a - b) for i, a in enumerate(tops[:3]) for b in tops[:i]) >= 12, "a line of text apart"
