# SPDX-License-Identifier: Apache-2.0
"""How ``pitviper serve`` refuses to start."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for _module in ("starlette", "uvicorn"):
    pytest.importorskip(_module, reason="the extra web is not installed")


def test_a_foreign_address_needs_a_token(serve: Callable[..., Any], tmp_path: Path) -> None:
    server = serve(tmp_path, "--host", "0.0.0.0")
    environment = {key: value for key, value in os.environ.items() if key != "PITVIPER_TOKEN"}
    found = subprocess.run(
        server.command, capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert found.returncode == 2
    assert "set a token with --token" in found.stderr


def test_a_taken_port_is_an_error_with_a_fix(serve: Callable[..., Any], tmp_path: Path) -> None:
    server = serve(tmp_path)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", server.port))
        holder.listen()
        found = subprocess.run(server.command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 2, found.stderr
    assert "take another --port" in found.stderr
