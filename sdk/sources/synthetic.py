# SPDX-License-Identifier: Apache-2.0
"""Frames of `pitviper.core.synthetic`, by URI: synthetic://sea?width=640&height=512&frames=100&seed=3."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from pitviper.core.synthetic import CLUTTERS, Scene, SceneConfig
from pitviper.sdk.errors import InputError
from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.schemes import OpenOptions

__all__ = ["SyntheticSource", "open_synthetic", "parse_scene"]


class SyntheticSource(Source):
    """A synthetic scene as a source; `scene[frame.index]` holds the truth of a frame."""

    def __init__(self, scene: Scene) -> None:
        config = scene.config
        name = f"synthetic://{config.clutter}?seed={config.seed}"
        super().__init__(
            SourceInfo("synthetic", name, config.width, config.height, fps=config.fps, count=config.frames)
        )
        self.scene = scene

    def _read(self) -> Iterator[Frame]:
        for view in self.scene:
            yield Frame(view.frame, view.index, FrameTime.now(view.time_ns))


def open_synthetic(text: str, how: OpenOptions) -> Source:
    """The scene of a `synthetic://` URI. Raises InputError as `parse_scene` does."""
    return SyntheticSource(Scene(parse_scene(text)))


def parse_scene(uri: str) -> SceneConfig:
    """The scene that a `synthetic://` URI describes.

    The part before `?` may name the clutter; the keys after it are the fields of `SceneConfig`. Ranges and lists
    are written with a comma (`snr=5,20`); `frames=none` is endless.

    Raises:
        InputError: An unknown or repeated key, or a value that does not fit.
    """
    place, _, query = uri.partition("://")[2].partition("?")
    place = place.strip("/")
    try:
        pairs = parse_qsl(query, keep_blank_values=True)
    except ValueError as error:
        raise InputError(f"{uri:.200}: its keys cannot be read ({error})") from error
    if place:
        pairs.append(("clutter", place))
    given = dict(pairs)
    if len(given) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise InputError(f"{uri}: {twice} is given twice; give it once")
    known = {item.name: item for item in dataclasses.fields(SceneConfig)}
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in known:
            raise InputError(f"{uri}: unknown key {key!r}; known are {', '.join(known)}")
        try:
            values[key] = _value(text, key, known[key].default)
        except ValueError as error:
            raise InputError(f"{uri}: {key}={text} cannot be read ({error})") from error
    try:
        return SceneConfig(**values)
    except ValueError as error:
        hint = f"; for example synthetic://{CLUTTERS[0]}?frames=100&seed=1"
        raise InputError(f"{uri}: {error}{hint}") from error


def _value(text: str, key: str, default: Any) -> Any:
    if key == "frames" and text.lower() in {"none", "inf", "endless"}:
        return None
    if key == "kinds":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if isinstance(default, tuple):
        numbers = tuple(float(part) for part in text.split(","))
        if len(numbers) != 2:
            raise ValueError("two numbers are needed, LOW,HIGH")
        return numbers
    return type(default)(text)
