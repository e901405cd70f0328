# SPDX-License-Identifier: Apache-2.0
"""What arrives over HTTP at the page for labels: a stranger, a foreign page, a broken client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from starlette.testclient import TestClient

from pitviper.sdk.web.guard import HEADER, LIMIT_BYTES
from pitviper.sdk.web.labelling import FrameFolder, LabelBook, make_label_app

CHANGE = {HEADER: "1"}
POINT = {"frame": 0, "row": 3, "column": 4}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "points.csv"


@pytest.fixture
def app(tmp_path: Path, out: Path) -> Any:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((16, 24), 7800, np.uint16)).save(folder / f"{name}.png")
    frames = FrameFolder(str(folder))
    book = LabelBook(frames, out)
    return lambda **settings: TestClient(
        make_label_app(frames, book, **settings), base_url="http://localhost", follow_redirects=False
    )


def test_what_the_page_asks_for(app: Any, out: Path) -> None:
    client = app(hosts=("localhost",))
    for name in ("", "label.css", "label.js", "canvas.js"):
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert "http://" not in answer.text
        assert "https://" not in answer.text
    told = client.get("/api/overview").json()
    assert (told["names"], told["counts"]) == (["a.png", "b.png"], [-1, -1])
    assert client.get("/picture/0.png?view=detail&inverted=1").headers["content-type"] == "image/png"
    changed = client.post("/api/add", json=POINT, headers=CHANGE).json()
    assert changed["frame"]["points"] == [[3, 4]]
    assert changed["status"]["labelled"] == 1
    client.post("/api/mark", json={"frame": 1, "empty": True}, headers=CHANGE)
    assert out.read_text() == "image,row,column\na.png,3,4\nb.png,,\n"
    assert client.post("/api/undo", json={}, headers=CHANGE).json()["frame"]["index"] == 1
    assert client.post("/api/redo", json={}, headers=CHANGE).json()["frame"]["labelled"]
    moved = client.post("/api/move", json={**POINT, "to_row": 15, "to_column": 23}, headers=CHANGE).json()
    assert moved["frame"]["points"] == [[15, 23]]
    client.post("/api/remove", json={"frame": 0, "row": 15, "column": 23}, headers=CHANGE)
    assert client.get("/api/frame/0").json()["frame"]["labelled"] is False
    assert client.post("/api/save", json={}, headers=CHANGE).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("add", {"frame": 0, "row": 16, "column": 0}, 409),
        ("add", {"frame": 0, "row": 0, "column": -1}, 409),
        ("add", {"frame": 0, "row": 10**30, "column": 0}, 400),
        ("add", {"frame": 0, "row": 1.5, "column": 0}, 400),
        ("add", {"frame": 0, "row": "1", "column": 0}, 400),
        ("add", {"frame": 0, "row": True, "column": 0}, 400),
        ("add", {"frame": 0, "row": None, "column": [0]}, 400),
        ("add", {"frame": 0, "row": 1}, 400),
        ("add", {"frame": 2, "row": 0, "column": 0}, 404),
        ("add", {"frame": -1, "row": 0, "column": 0}, 404),
        ("add", {"frame": "../a", "row": 0, "column": 0}, 400),
        ("remove", POINT, 409),
        ("move", {**POINT, "to_row": 0, "to_column": 0}, 409),
        ("mark", {"frame": 0, "empty": 1}, 400),
        ("mark", {"frame": 0}, 400),
        ("undo", {}, 409),
        ("redo", {}, 409),
        ("text", {}, 404),
        ("_write", {}, 404),
    ],
)
def test_bad_changes_are_refused_with_a_sentence(
    app: Any, out: Path, path: str, body: dict[str, Any], status: int
) -> None:
    answer = app().post(f"/api/{path}", json=body, headers=CHANGE)
    assert answer.status_code == status
    assert answer.text.strip()
    assert not out.exists(), "nothing was written"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"NaN", b"[" * 4000, b"\xff\xfe", b'{"frame": NaN}']
)
def test_what_is_no_json_object_is_refused(app: Any, out: Path, body: bytes) -> None:
    assert app().post("/api/add", content=body, headers=CHANGE).status_code == 400
    assert not out.exists()


def test_strangers_reach_nothing(app: Any, out: Path) -> None:
    guarded = app(token="open sesame")
    for path in ("/", "/api/overview", "/api/frame/0", "/picture/0.png", "/label.js"):
        assert guarded.get(path).status_code == 401
        assert guarded.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
    assert guarded.post("/api/add", json=POINT, headers=CHANGE).status_code == 401
    allowed = {**CHANGE, "authorization": "Bearer open sesame"}
    assert app(hosts=("localhost",)).get("/", headers={"host": "evil.example"}).status_code == 421
    client = app()
    assert client.post("/api/add", json=POINT).status_code == 403, "a foreign form can send no such header"
    foreign = {**CHANGE, "origin": "https://evil.example"}
    assert client.post("/api/add", json=POINT, headers=foreign).status_code == 403
    large = b'{"frame": 0, "row": 3, "column": 4, "more": "' + b"x" * LIMIT_BYTES + b'"}'
    assert client.post("/api/add", content=large, headers=CHANGE).status_code == 413
    assert client.get("/api/add").status_code == 405
    assert not out.exists()
    assert guarded.post("/api/add", json=POINT, headers=allowed).status_code == 200
    assert out.exists()


@pytest.mark.parametrize(
    "path",
    ["/picture/2.png", "/picture/-1.png", "/picture/1e3.png", "/picture/../../../points.csv", "/api/frame/2",
     "/api/frame/99999999999999999999", "/picture/%2e%2e/a.png", "/images/a.png", "/app.py",
     "/labelling/page/label.js"],
)  # fmt: skip
def test_no_path_leads_elsewhere(app: Any, path: str) -> None:
    assert app().get(path).status_code == 404
    assert app().get("/picture/0.png?view=../x").status_code == 400
