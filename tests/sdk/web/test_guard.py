# SPDX-License-Identifier: Apache-2.0
"""What a stranger, a foreign page or a broken client cannot do to the live view."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from pitviper.sdk.web import guard
from pitviper.sdk.web.guard import COOKIE, HEADER, LIMIT_BYTES, Guard

TOKEN = "s3cret-tökén"
CHANGE = {HEADER: "1"}


@pytest.fixture
def client_for() -> Callable[..., TestClient]:
    async def answer(request: Request) -> Response:
        await request.body()
        return PlainTextResponse(
            "reached", headers={"access-control-allow-origin": "*", "cache-control": "public"}
        )

    app = Starlette(
        routes=[Route("/", answer), Route("/api", answer, methods=["GET", "POST"])],
    )

    def make(base: str = "http://localhost:8765", **settings: Any) -> TestClient:
        return TestClient(Guard(app, **settings), base_url=base, follow_redirects=False)

    return make


def test_without_the_token_nothing_is_reached(client_for: Callable[..., TestClient]) -> None:
    client = client_for(token=TOKEN)
    wrong = (TOKEN[:-1], TOKEN + "x", "", "\x00", "s" * 10_000)
    for attempt in (
        {},
        *({"authorization": f"Bearer {w}".encode()} for w in wrong),
        {"authorization": TOKEN.encode()},
    ):
        for path in ("/", "/api", "/nowhere", "/?token=wrong", "/?token="):
            assert client.get(path, headers=attempt).status_code == 401
    assert client.get("/api", headers={"cookie": f"{COOKIE}=wrong"}).status_code == 401
    assert client.get("/api?token=" + TOKEN).status_code == 401, "in a query it is taken on the page alone"


def test_the_token_opens_by_header_query_and_cookie(client_for: Callable[..., TestClient]) -> None:
    client = client_for(token="plain")
    assert client.get("/api", headers={"authorization": "Bearer plain"}).text == "reached"
    answer = client.get("/?token=plain")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").text == "reached", "the cookie is enough from now on"


def test_tokens_are_compared_in_constant_time(
    client_for: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every candidate goes through the comparison that takes as long for a near miss as for a far one."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, wanted: bytes) -> bool:
        compared.append((given, wanted))
        return False

    monkeypatch.setattr(guard, "hmac", SimpleNamespace(compare_digest=compare))
    client = client_for(token="plain")
    headers = {"authorization": "Bearer plain", "cookie": f"{COOKIE}=plain"}
    assert client.get("/?token=plain", headers=headers).status_code == 401, "nothing else decides"
    assert compared == [(b"plain", b"plain")] * 3


def test_foreign_names_of_this_machine_are_refused(client_for: Callable[..., TestClient]) -> None:
    hosts = ("localhost", "127.0.0.1", "::1")
    for name in ("localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765"):
        assert client_for(hosts=hosts).get("/", headers={"host": name}).status_code == 200
    for name in (
        "evil.example",
        "localhost.evil.example",
        "evil.example:8765",
        "",
        "[",
        "a@localhost",
        "localhost/x",
    ):
        assert client_for(hosts=hosts).get("/", headers={"host": name}).status_code == 421


def test_a_foreign_page_changes_nothing(client_for: Callable[..., TestClient]) -> None:
    client = client_for()
    assert client.post("/api", json={}).status_code == 403, "a form of a foreign page can send no such header"
    assert (
        client.post("/api", json={}, headers={**CHANGE, "origin": "https://evil.example"}).status_code == 403
    )
    assert client.post("/api", json={}, headers={**CHANGE, "origin": "null"}).status_code == 403
    assert (
        client.post("/api", json={}, headers={**CHANGE, "origin": "http://localhost:8765"}).text == "reached"
    )
    assert client.options("/api", headers={"origin": "https://evil.example"}).status_code == 403


def test_the_size_of_a_request_is_bound(client_for: Callable[..., TestClient]) -> None:
    client = client_for()
    assert client.post("/api", content=b"x" * LIMIT_BYTES, headers=CHANGE).text == "reached"
    assert client.post("/api", content=b"x" * (LIMIT_BYTES + 1), headers=CHANGE).status_code == 413
    assert client.post("/api", content=iter([b"x"]), headers=CHANGE).status_code == 411
    for length in ("-1", "1e9", "9" * 400, "²"):
        found = client.post("/api", content=b"", headers={**CHANGE, "content-length": length.encode()})
        assert found.status_code in (411, 413)


def test_every_answer_says_what_a_page_may_load(client_for: Callable[..., TestClient]) -> None:
    for answer in (client_for().get("/"), client_for(token=TOKEN).get("/"), client_for().get("/nowhere")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    assert client_for().get("/").headers.get_list("cache-control") == ["no-store"]
