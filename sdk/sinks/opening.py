# SPDX-License-Identifier: Apache-2.0
"""`open_sinks`: several outputs at once, all of them or none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pitviper.core.images import IMAGE_SUFFIXES
from pitviper.sdk.errors import SinkError
from pitviper.sdk.sinks.base import Sink
from pitviper.sdk.sinks.pictures import Masks, Pictures
from pitviper.sdk.sinks.text import Coco, JsonLines, Mot
from pitviper.sdk.sinks.video import AnnotatedVideo

__all__ = ["abandon_all", "open_sinks", "refuse_inputs", "refuse_twins"]

_Target = str | os.PathLike[str] | None


def open_sinks(
    *,
    video: _Target = None,
    json: _Target = None,
    pictures: _Target = None,
    masks: _Target = None,
    coco: _Target = None,
    mot: _Target = None,
    fps: float | None = None,
    keep: Sequence[Path] = (),
) -> list[Sink]:
    """Open the outputs that are named; when one cannot be opened, those before it are closed, their files unchanged.

    An existing file is replaced with the first frame. An existing folder of pictures or masks must hold no PNG
    files.

    Args:
        video: Annotated video.
        json: JSON lines; `-` is the standard output.
        pictures: Folder of annotated PNG pictures.
        masks: Folder of PNG masks.
        coco: COCO results.
        mot: MOT challenge text.
        fps: Frames per second of the video; None plays at 25.
        keep: Files that no output may replace, by whatever name or link: those of the source (`Source.files`).

    Raises:
        SinkError: One cannot be opened, two have the same path, or one is a file to keep.
    """
    makers: dict[str, tuple[_Target, Callable[[str], Sink]]] = {
        "masks": (masks, Masks),
        "pictures": (pictures, Pictures),
        "json": (json, JsonLines),
        "coco": (coco, Coco),
        "mot": (mot, Mot),
        "video": (video, lambda path: AnnotatedVideo(path, fps=fps)),
    }
    chosen = {name: (os.fspath(path), make) for name, (path, make) in makers.items() if path is not None}
    paths = {name: path for name, (path, _) in chosen.items()}
    refuse_twins(paths)
    refuse_inputs(paths, keep)
    sinks: list[Sink] = []
    try:
        for path, make in chosen.values():
            sinks.append(make(path))
    except BaseException:
        abandon_all(sinks)
        raise
    return sinks


def abandon_all(sinks: Sequence[Sink]) -> None:
    """Close sinks that will get no frame: files that they would have replaced stay as they were."""
    for sink in sinks:
        with suppress(SinkError, OSError):
            getattr(sink, "abandon", sink.close)()


def refuse_twins(paths: Mapping[str, str]) -> None:
    """Raise SinkError when two outputs, by name, would write to one place."""
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        place = Path(path).resolve()
        if place in seen:
            raise SinkError(f"{path}: named for {seen[place]} and for {name}; give each output its own path")
        seen[place] = name


def refuse_inputs(paths: Mapping[str, str], keep: Sequence[Path]) -> None:
    """Raise SinkError when an output, by name, is a file that is read, or pictures would go among the images."""
    outputs = {}
    for name, path in paths.items():
        place = _identity(Path(path))
        if place is not None and path != "-":
            outputs[place] = name
    if not outputs:
        return
    folders = {path.parent for path in keep if path.suffix.lower() in IMAGE_SUFFIXES}
    for given in (*keep, *folders):
        name = outputs.get(_identity(given) or (0, 0), "")
        if name and (name in ("masks", "pictures") or given not in folders):
            raise SinkError(
                f"{paths[name]}: this is the input ({given}); writing {name} there would destroy frames or mix "
                "with them. Give the output its own path"
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """What a path leads to in the end, over links of both kinds; None where there is nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
