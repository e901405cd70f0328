# SPDX-License-Identifier: Apache-2.0
"""What scanners send, as raw bytes to a real ``pitviper serve``: no client tidies the paths and headers up first."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

for _module in ("starlette", "uvicorn"):
    pytest.importorskip(_module, reason="the extra web is not installed")

from pitviper.sdk.web.guard import HEADER  # noqa: E402 - only where starlette is there

SECRET = re.compile(rb"root:|SPDX|import |BEGIN|Traceback|site-packages")


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = serve(tmp_path_factory.mktemp("scan"))
    made.start()
    yield made
    made.stop()


def sent(server: Any, data: bytes, *, whole: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to these bytes; status 0 when the server hung up without one."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        answer = b""
        # A server may hang up while it is still being talked to.
        with suppress(ConnectionError):
            connection.sendall(data)
        with suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/1.1 ") else 0
    return status, {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}, body


def get(server: Any, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Any:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", "Connection: close", *headers]
    return sent(server, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/etc/passwd",
        "/....//....//etc/passwd", "/..\\..\\etc\\passwd", "//etc/passwd", "/page.js/../../app.py",
        "/page.js%00.html", "/picture/../../app.py",
        "/picture/1.jpg/../../../guard.py", "/%c0%ae%c0%ae/etc/passwd", "/static/../app.py", "/.git/config", "/.env",
        "/api/snapshot/../../../etc/passwd", "/page.css~", "/index.html", "/docs", "/openapi.json", "/a" * 5000,
    ],
)  # fmt: skip
def test_no_path_leads_out(server: Any, path: str) -> None:
    status, headers, body = get(server, path)
    assert status in (400, 404), status
    assert not SECRET.search(body)
    assert status == 400 or "default-src 'self'" in headers["content-security-policy"]


def test_answers_are_for_this_page_alone(server: Any) -> None:
    foreign = "Origin: https://evil.example"
    for path in ("/", "/api/status", "/api/about", "/page.js", "/nowhere"):
        _, headers, _ = get(server, path, foreign)
        assert not [name for name in headers if name.startswith("access-control-")]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers, "the server's name and version help nobody but a scanner"
    preflight = (foreign, "Access-Control-Request-Method: POST", f"Access-Control-Request-Headers: {HEADER}")
    status, headers, _ = get(server, "/api/threshold", *preflight, method="OPTIONS")
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control-")]


def test_other_names_and_methods_are_refused(server: Any) -> None:
    port = server.port
    rebound = f"GET / HTTP/1.1\r\nHost: evil.example:{port}\r\nConnection: close\r\n\r\n"
    assert sent(server, rebound.encode())[0] == 421
    absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert sent(server, absolute.encode())[0] in (400, 421)
    for method in ("TRACE", "PUT", "DELETE", "CONNECT", "PROPFIND", "POST"):
        status, _, body = get(server, "/api/status", "Content-Length: 0", f"{HEADER}: 1", method=method)
        assert status in (400, 404, 405), method
        assert HEADER.encode() not in body, "a request is not sent back"


def test_requests_without_end_are_ended(server: Any) -> None:
    change = (f"{HEADER}: 1", "Content-Type: application/json")
    assert get(server, "/api/threshold", *change, "Content-Length: 5000000", method="POST")[0] == 413
    chunked = get(
        server, "/api/threshold", *change, "Transfer-Encoding: chunked", method="POST", body=b"0\r\n\r\n"
    )
    assert chunked[0] == 411
    assert get(server, "/", "X-Long: " + "a" * (1 << 20))[0] in (0, 400, 431)
    both = (*change, "Content-Length: 4", "Transfer-Encoding: chunked")
    assert get(server, "/api/threshold", *both, method="POST", body=b"0\r\n\r\n")[0] in (0, 400, 411)
    assert get(server, "/?" + "&".join(f"token={n}" for n in range(3000)))[0] in (200, 303, 400)


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00" * 4096, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\nX: \xff\xfe\n\n", b"\r\n" * 3000,
     b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\tc\r\nConnection: close\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request_does_no_harm(server: Any, data: bytes) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection,
        suppress(ConnectionError),
    ):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
        assert b"Traceback" not in answer
    status, _, body = get(server, "/api/status")
    assert status == 200
    assert b'"state"' in body
