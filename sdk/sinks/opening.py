# SPDX-License-Identifier: Apache-2.0
"""`open_sinks`: several outputs at once, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pitviper.sdk.errors import SinkError
from pitviper.sdk.sinks.base import Sink
from pitviper.sdk.sinks.masks import Masks
from pitviper.sdk.sinks.text import Coco, JsonLines, Mot
from pitviper.sdk.sinks.video import AnnotatedVideo

__all__ = ["open_sinks"]

_Target = str | os.PathLike[str] | None


def open_sinks(
    *,
    video: _Target = None,
    json: _Target = None,
    masks: _Target = None,
    coco: _Target = None,
    mot: _Target = None,
    fps: float | None = None,
) -> list[Sink]:
    """Open the outputs that are named; when one cannot be opened, those before it are closed again.

    Args:
        video: Annotated video.
        json: JSON lines; `-` is the standard output.
        masks: Folder of PNG masks.
        coco: COCO results.
        mot: MOT challenge text.
        fps: Frames per second of the video; None plays at 25.

    Raises:
        SinkError: One cannot be opened, or two have the same path.
    """
    makers: dict[str, tuple[_Target, Callable[[str], Sink]]] = {
        "masks": (masks, Masks),
        "json": (json, JsonLines),
        "coco": (coco, Coco),
        "mot": (mot, Mot),
        "video": (video, lambda path: AnnotatedVideo(path, fps=fps)),
    }
    chosen = {name: (os.fspath(path), make) for name, (path, make) in makers.items() if path is not None}
    _refuse_twins({name: path for name, (path, _) in chosen.items()})
    sinks: list[Sink] = []
    try:
        for path, make in chosen.values():
            sinks.append(make(path))
    except BaseException:
        for sink in sinks:
            with suppress(SinkError):
                sink.close()
        raise
    return sinks


def _refuse_twins(paths: dict[str, str]) -> None:
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        place = Path(path).resolve()
        if place in seen:
            raise SinkError(f"{path}: named for {seen[place]} and for {name}; give each output its own path")
        seen[place] = name
