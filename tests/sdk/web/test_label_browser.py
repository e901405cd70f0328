# SPDX-License-Identifier: Apache-2.0
"""The page of ``pitviper label`` in a real browser: headless Chromium, no internet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

for _module in ("starlette", "uvicorn"):
    pytest.importorskip(_module, reason="the extra web is not installed")
resource = pytest.importorskip("resource", reason="limits on files are set through Unix's prlimit")

from pitviper.core.points import read_table  # noqa: E402 - only where the extra is there

if TYPE_CHECKING:
    from playwright.sync_api import Page

Until = Callable[[Any, str], None]
At = Callable[[Any, int, int], tuple[float, float]]
SHAPE = (128, 160)
TARGETS = ((30, 40), (90, 121))
WORST_PIXEL = """async () => {
  const canvas = document.getElementById("frame");
  const [scale, left, top] = ["scale", "left", "top"].map((name) => Number(canvas.dataset[name]));
  const side = 5 * scale;
  const shown = canvas.getContext("2d").getImageData(left + 38 * scale, top + 28 * scale, side, side).data;
  const image = new Image();
  image.src = "/picture/0.png";
  await image.decode();
  const plain = new OffscreenCanvas(image.width, image.height).getContext("2d");
  plain.drawImage(image, 0, 0);
  const truth = plain.getImageData(38, 28, 5, 5).data;
  let worst = 0;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const meant = truth[4 * (5 * Math.floor(y / scale) + Math.floor(x / scale))];
      worst = Math.max(worst, Math.abs(shown[4 * (y * side + x)] - meant));
    }
  }
  return { scale, worst, target: truth[4 * 12] };
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("<img src=x onerror=document.title=1>")
    (made / "images").mkdir()
    for number in range(3):
        frame = np.random.default_rng(number).normal(7800, 12, SHAPE)
        for row, column in TARGETS:
            frame[row, column] += 500
        Image.fromarray(frame.astype(np.uint16)).save(made / "images" / f"f{number}.png")
    return made


@pytest.fixture(scope="module")
def server(label: Callable[..., Any], place: Path) -> Iterator[Any]:
    made = label(place / "images", place / "points.csv")
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


@pytest.fixture
def page(watched: Callable[..., Page], server: Any, place: Path, until: Until) -> Page:
    made = watched(server.url + "#1")
    until(made, "document.getElementById('frame').dataset.ready === 'true'")
    return made


def on_disk(place: Path) -> dict[str, list[list[int]]]:
    table = read_table(place / "points.csv", empty=True)
    return {name: points.tolist() for name, points in table.labels.items()}


def says(page: Page, until: Until, element: str, text: str) -> None:
    until(page, f"document.getElementById('{element}').textContent === {text!r}")


def saved(page: Page, until: Until) -> None:
    says(page, until, "saved", "saved")


def test_points_are_clicked_kept_and_taken_back(page: Page, place: Path, until: Until, at: At) -> None:
    page.mouse.click(*at(page, *TARGETS[0]))
    says(page, until, "label", "1 point")
    page.mouse.move(*at(page, *TARGETS[1]))
    for _ in range(4):
        page.mouse.wheel(0, -100)
    until(page, "Number(document.getElementById('frame').dataset.scale) >= 12")
    page.mouse.click(*at(page, *TARGETS[1]))
    says(page, until, "label", "2 points")
    saved(page, until)
    assert on_disk(place) == {"f0": [list(each) for each in TARGETS]}

    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowRight")
    says(page, until, "name", "f1.png")
    page.keyboard.press("e")
    says(page, until, "label", "no target here")
    saved(page, until)
    assert on_disk(place) == {"f0": [[30, 40], [91, 122]], "f1": []}

    page.reload()
    until(page, "document.getElementById('frame').dataset.ready === 'true'")
    assert page.text_content("#name") == "f1.png", "the same frame"
    assert "2 of 3 frames labelled · 2 points · 1 without target" in (page.text_content("#counts") or "")
    page.keyboard.press("Control+z")
    says(page, until, "label", "no label yet")
    page.keyboard.press("Control+z")
    says(page, until, "name", "f0.png")
    page.keyboard.press("Control+z")
    saved(page, until)
    assert on_disk(place) == {"f0": [[30, 40], [90, 121]]}
    page.keyboard.press("Control+y")
    saved(page, until)
    assert on_disk(place) == {"f0": [[30, 40], [91, 121]]}

    page.keyboard.press("0")
    page.mouse.click(*at(page, *TARGETS[0]))
    page.keyboard.press("Delete")
    says(page, until, "label", "1 point")
    page.mouse.click(*at(page, 91, 121), button="right")
    says(page, until, "label", "no label yet")
    saved(page, until)
    assert on_disk(place) == {}


def test_a_drag_moves_a_point_or_the_picture(page: Page, place: Path, until: Until, at: At) -> None:
    page.mouse.click(*at(page, 60, 60))
    says(page, until, "label", "1 point")
    page.mouse.move(*at(page, 60, 60))
    page.mouse.down()
    page.mouse.move(*at(page, 64, 66))
    page.mouse.move(*at(page, 70, 72))
    page.mouse.up()
    until(page, "document.getElementById('undo').disabled === false")
    saved(page, until)
    assert on_disk(place) == {"f0": [[70, 72]]}
    x, y = at(page, 20, 20)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30, steps=3)
    page.mouse.up()
    assert at(page, 20, 20) == pytest.approx((x + 40, y + 30), abs=1.0), "whole pixels of the screen"
    assert on_disk(place) == {"f0": [[70, 72]]}, "a drag puts no point"
    page.click("#undo")
    page.click("#undo")
    says(page, until, "label", "no label yet")


def test_pixels_are_shown_as_they_are(page: Page, until: Until) -> None:
    """Of an enlarged frame, every screen pixel inside a frame pixel has its gray, to the last step."""
    page.keyboard.press("+")
    found = page.evaluate(WORST_PIXEL)
    assert found["scale"] > 1
    assert found["worst"] == 0
    assert found["target"] == 255


def test_a_full_disk_is_told_and_nothing_is_lost(
    page: Page, server: Any, place: Path, until: Until, at: At
) -> None:
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    page.mouse.click(*at(page, 10, 10))
    says(page, until, "label", "1 point")
    saved(page, until)
    before = on_disk(place)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        page.mouse.click(*at(page, 100, 100))
        says(page, until, "saved", "not saved")
        assert "cannot be written (File too large)" in (page.text_content("#unsaved") or "")
        assert on_disk(place) == before
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    page.click("#save")
    saved(page, until)
    assert page.locator("#unsaved").is_hidden()
    assert on_disk(place) == {"f0": [[10, 10], [100, 100]]}
    for _ in range(2):
        page.click("#undo")
    says(page, until, "label", "no label yet")


def test_nothing_is_cut_off_at_any_width(page: Page) -> None:
    for width in (360, 768, 1440):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        box = page.locator("#frame").bounding_box()
        assert box is not None
        assert box["width"] >= 0.5 * width
        for name in ("previous", "next", "open", "remove", "empty", "undo", "redo", "in", "out", "fit"):
            button = page.locator(f"#{name}").bounding_box()
            assert button is not None
            assert button["height"] >= 40, "a finger hits it"
    assert page.locator("img[src=x]").count() == 0, "a path is text"


def test_one_finger_puts_points_and_two_zoom(
    watched: Callable[..., Page], server: Any, place: Path, until: Until, at: At
) -> None:
    phone = watched(
        server.url + "#3",
        viewport={"width": 390, "height": 844},
        device_scale_factor=3,
        has_touch=True,
        is_mobile=True,
    )
    until(phone, "document.getElementById('frame').dataset.ready === 'true'")
    phone.touchscreen.tap(*at(phone, 80, 80))
    says(phone, until, "label", "1 point")
    saved(phone, until)
    before = float(phone.get_attribute("#frame", "data-scale") or 0)
    x, y = at(phone, 60, 60)
    touch = phone.context.new_cdp_session(phone)
    for kind, spread in (("touchStart", 20), ("touchMove", 40), ("touchMove", 90), ("touchEnd", 0)):
        fingers = [{"x": x - spread, "y": y, "id": 0}, {"x": x + spread, "y": y, "id": 1}] if spread else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    until(phone, f"Number(document.getElementById('frame').dataset.scale) > 2 * {before}")
    scale = 3 * float(phone.get_attribute("#frame", "data-scale") or 0)
    assert scale == pytest.approx(round(scale)), "a pixel of the frame is a whole number of screen pixels"
    saved(phone, until)
    assert on_disk(place) == {"f2": [[80, 80]]}, "no point where the fingers were"


def test_what_a_stopped_server_did_not_take_is_not_shown(
    page: Page, server: Any, place: Path, until: Until, at: At
) -> None:
    page.mouse.click(*at(page, 10, 10))
    says(page, until, "label", "1 point")
    assert server.stop() == 130
    page.mouse.click(*at(page, 100, 100))
    says(page, until, "saved", "no connection")
    assert page.text_content("#label") == "1 point"
    assert page.is_disabled("#remove"), "no point is selected: the one that was clicked is gone"
    server.start()
    page.mouse.click(*at(page, 50, 50))
    says(page, until, "label", "2 points")
    saved(page, until)
    assert on_disk(place)["f0"] == [[10, 10], [50, 50]], "the labels were continued"
    for _ in range(2):
        page.mouse.click(*at(page, *on_disk(place)["f0"][0]), button="right")
        saved(page, until)
    says(page, until, "label", "no label yet")


def test_labels_that_no_disk_takes_go_to_stdout(server: Any, place: Path) -> None:
    """Ctrl-C while the file was changed by another program: the file stays, and the labels are not lost."""
    import httpx

    told = "image,row,column\nother,1,1\n"
    (place / "points.csv").write_text(told)
    change = {"frame": 0, "row": 5, "column": 6}
    answer = httpx.post(f"{server.url}api/add", json=change, headers={"x-pitviper": "1"}).json()
    assert "changed by another program" in answer["status"]["unsaved"]
    assert server.stop() == 1
    assert "All labels went to stdout" in server.said
    assert server.written.splitlines()[:2] == ["image,row,column", "f0.png,5,6"]
    assert (place / "points.csv").read_text() == told
