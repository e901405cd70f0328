# SPDX-License-Identifier: Apache-2.0
"""The web application of a `LabelBook`: one page, pictures of frames, and what changes labels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from pitviper.core.datasets import DatasetError
from pitviper.sdk.errors import SinkError, SourceError
from pitviper.sdk.web.content import json_object, page_routes
from pitviper.sdk.web.guard import Guard
from pitviper.sdk.web.labelling.book import LabelBook
from pitviper.sdk.web.labelling.frames import VIEWS, FrameFolder

__all__ = ["make_label_app"]

_FILES: Final = {"": "index.html"} | {name: name for name in ("label.css", "label.js", "canvas.js")}
_LARGEST: Final = 2**31
_FIELDS: Final = {
    "add": ("frame", "row", "column"),
    "remove": ("frame", "row", "column"),
    "move": ("frame", "row", "column", "to_row", "to_column"),
    "mark": ("frame", "empty"),
    "undo": (),
    "redo": (),
}


def make_label_app(
    frames: FrameFolder, book: LabelBook, *, token: str | None = None, hosts: Sequence[str] = ()
) -> Guard:
    """An ASGI application.

    ``GET /`` is the page, ``/api/overview`` and ``/api/frame/N`` are JSON, ``/picture/N.png`` is a frame
    (``?view=detail``, ``?inverted=1``). ``POST /api/add``, ``remove``, ``move``, ``mark``, ``undo`` and ``redo`` change
    labels and answer with the frame that changed; ``/api/save`` writes what could not be written.

    Args:
        frames: What is labelled.
        book: Their labels.
        token: Needed for everything; None for none.
        hosts: Names under which the page may be asked for; empty for any.
    """
    service = _Service(frames, book)
    routes = [
        *page_routes("labelling/page", _FILES),
        Route("/api/overview", service.overview),
        Route("/api/frame/{index:int}", service.frame),
        Route("/api/save", service.save, methods=["POST"]),
        *(Route(f"/api/{what}", service.change(what), methods=["POST"]) for what in _FIELDS),
        Route("/picture/{index:int}.png", service.picture),
    ]
    return Guard(Starlette(routes=routes), token=token, hosts=hosts)


class _Service:
    def __init__(self, frames: FrameFolder, book: LabelBook) -> None:
        self._frames = frames
        self._book = book

    async def overview(self, request: Request) -> Response:
        return JSONResponse({**self._book.overview(), "status": self._book.status()})

    async def frame(self, request: Request) -> Response:
        index = request.path_params["index"]
        if not 0 <= index < len(self._frames):
            return self._unknown()
        return await asyncio.to_thread(self._told, index)

    async def picture(self, request: Request) -> Response:
        index = request.path_params["index"]
        view = request.query_params.get("view", VIEWS[0])
        if not 0 <= index < len(self._frames):
            return self._unknown()
        if view not in VIEWS:
            return PlainTextResponse(f"a view is one of {', '.join(VIEWS)}", 400)
        inverted = request.query_params.get("inverted") == "1"
        try:
            content = await asyncio.to_thread(self._frames.picture, index, view=view, inverted=inverted)
        except SourceError as error:
            return PlainTextResponse(str(error), 409)
        return Response(content, media_type="image/png")

    async def save(self, request: Request) -> Response:
        try:
            await asyncio.to_thread(self._book.save)
        except SinkError as error:
            return PlainTextResponse(str(error), 409)
        return JSONResponse({"status": self._book.status()})

    def change(self, what: str) -> Callable[[Request], Any]:
        """A handler of one kind of change."""

        async def answer(request: Request) -> Response:
            given = await json_object(request)
            values = [given.get(field) for field in _FIELDS[what]]
            for field, value in zip(_FIELDS[what], values, strict=True):
                if not (isinstance(value, bool) if field == "empty" else _is_count(value)):
                    kind = "true or false" if field == "empty" else "a whole number"
                    return PlainTextResponse(
                        f"{what} needs {', '.join(_FIELDS[what])}; {field} is {kind}", 400
                    )
            if "frame" in _FIELDS[what] and not 0 <= given["frame"] < len(self._frames):
                return self._unknown()
            return await asyncio.to_thread(self._changed, getattr(self._book, what), values)

        return answer

    def _changed(self, change: Callable[..., int], values: Sequence[Any]) -> Response:
        try:
            index = change(*values)
        except (DatasetError, SourceError) as error:
            return PlainTextResponse(str(error), 409)
        return self._told(index)

    def _told(self, index: int) -> Response:
        return JSONResponse({"frame": self._book.frame(index), "status": self._book.status()})

    def _unknown(self) -> Response:
        return PlainTextResponse(f"there are the frames 0 to {len(self._frames) - 1}", 404)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST
