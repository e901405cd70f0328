# SPDX-License-Identifier: Apache-2.0
"""What the applications of this folder share: the files of a page, and the JSON of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from pitviper.sdk.web.guard import LIMIT_BYTES

__all__ = ["json_object", "page_routes"]

_KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


def page_routes(folder: str, files: Mapping[str, str]) -> list[Route]:
    """Routes of files of this package.

    Args:
        folder: Folder beside this module.
        files: File in it by the path that it is asked for with, without the slash.
    """
    return [Route(f"/{path}", _page_file(folder, name)) for path, name in files.items()]


def _page_file(folder: str, name: str) -> Any:
    content = resources.files("pitviper.sdk.web").joinpath(folder, name).read_bytes()
    kind = _KINDS[name.rpartition(".")[2]]

    async def answer(request: Request) -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8")

    return answer


async def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty one for anything else. Reads no more than the limit."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LIMIT_BYTES:
                return {}
        value = json.loads(body)
    except (ValueError, RecursionError, ClientDisconnect):
        return {}
    return value if isinstance(value, dict) else {}
