# SPDX-License-Identifier: Apache-2.0
"""The web application of a `LiveView`: one page, one stream of events, pictures, and what changes something."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pitviper.sdk.errors import InputError, SdkError
from pitviper.sdk.web.content import json_object, page_routes
from pitviper.sdk.web.guard import Guard
from pitviper.sdk.web.metrics import metrics_route

if TYPE_CHECKING:
    from pitviper.sdk.sinks import Metrics
    from pitviper.sdk.web.live import LiveView

__all__ = ["make_app"]

_FILES: Final = {"": "index.html"} | {
    name: name for name in ("page.css", "page.js", "picture.js", "plots.js")
}
_POLL_S: Final = 0.02
_HEARTBEAT_S: Final = 1.0
_RETRY_MS: Final = 1000


def make_app(
    view: LiveView, *, token: str | None = None, hosts: Sequence[str] = (), metrics: Metrics | None = None
) -> Guard:
    """An ASGI application.

    ``GET /`` is the page; ``/api/about`` and ``/api/status`` are JSON; ``/api/events`` sends the status as server-sent
    events, one for each result; ``/picture/N.jpg`` is the frame of result N; ``/api/snapshot`` a zip. ``POST
    /api/threshold`` takes ``{"threshold": T}``, or ``{"reset": true}`` for the one that the stream began with;
    ``POST /api/recording`` takes ``{"recording": true}``.

    Args:
        view: What is shown; started and stopped by the caller.
        token: Needed for everything; None for none.
        hosts: Names under which the page may be asked for; empty for any.
        metrics: Handed out at ``GET /metrics``; None for no such page.
    """
    service = _Service(view)
    routes = [
        *page_routes("page", _FILES),
        Route("/api/about", service.about),
        Route("/api/status", service.status),
        Route("/api/events", service.events),
        Route("/api/snapshot", service.snapshot),
        Route("/api/threshold", service.threshold, methods=["POST"]),
        Route("/api/recording", service.recording, methods=["POST"]),
        Route("/picture/{number:int}.jpg", service.picture),
    ]
    if metrics is not None:
        routes.append(metrics_route(metrics))
    return Guard(Starlette(routes=routes), token=token, hosts=hosts)


class _Service:
    def __init__(self, view: LiveView) -> None:
        self._view = view

    async def about(self, request: Request) -> Response:
        return JSONResponse(self._view.about())

    async def status(self, request: Request) -> Response:
        return JSONResponse(self._view.status())

    async def picture(self, request: Request) -> Response:
        content = await asyncio.to_thread(self._view.picture, request.path_params["number"])
        if content is None:
            return PlainTextResponse("this picture is not kept any more", 404)
        return Response(content, media_type="image/jpeg")

    async def snapshot(self, request: Request) -> Response:
        try:
            name, content = await asyncio.to_thread(self._view.snapshot)
        except SdkError as error:
            return PlainTextResponse(str(error), 409)
        return Response(
            content,
            media_type="application/zip",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    async def threshold(self, request: Request) -> Response:
        body = await json_object(request)
        if body.get("reset") is True and len(body) == 1:
            self._view.reset_threshold()
            return JSONResponse({"threshold": self._view.threshold})
        value = body.get("threshold")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return PlainTextResponse('needed is {"threshold": T} with T in [0, 1), or {"reset": true}', 400)
        try:
            self._view.threshold = float(value)
        except InputError as error:
            return PlainTextResponse(str(error), 400)
        return JSONResponse({"threshold": self._view.threshold})

    async def recording(self, request: Request) -> Response:
        wanted = (await json_object(request)).get("recording")
        if not isinstance(wanted, bool):
            return PlainTextResponse('needed is {"recording": true} or {"recording": false}', 400)
        try:
            await asyncio.to_thread(self._view.record, wanted)
        except SdkError as error:
            return PlainTextResponse(str(error), 409)
        return JSONResponse({"recording": self._view.status()["recording"]})

    async def events(self, request: Request) -> Response:
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(self._told(), media_type="text/event-stream", headers=headers)

    async def _told(self) -> AsyncIterator[str]:
        """The newest status whenever there is a new result, and once a second without one; a slow reader skips some."""
        yield f"retry: {_RETRY_MS}\n\n"
        while True:
            seen = self._view.count
            yield f"data: {json.dumps(self._view.status(), allow_nan=False)}\n\n"
            if not self._view.running:
                return
            waited = 0.0
            while self._view.count == seen and waited < _HEARTBEAT_S and self._view.running:
                await asyncio.sleep(_POLL_S)
                waited += _POLL_S
