# SPDX-License-Identifier: Apache-2.0
"""Frames that a program already holds: arrays, lists, generators, functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.frames import check_frame
from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo

__all__ = ["Arrays", "from_array", "from_array_file", "from_callable", "from_iterable"]


class Arrays(Source):
    """Frames of an iterable; each is checked when its turn comes and is never copied without need.

    Raises:
        InputError: While reading: an item that is no frame; the message names its index.
    """

    def __init__(
        self, items: Iterable[Any], info: SourceInfo, *, on_error: str = "raise", files: tuple[Path, ...] = ()
    ) -> None:
        super().__init__(info, on_error=on_error, files=files)
        self._items: Iterable[Any] | None = items

    def _read(self) -> Iterator[Frame]:
        assert self._items is not None
        gap: tuple[str, ...] = ()
        for index, item in enumerate(self._items):
            time = FrameTime.now()
            try:
                image = check_frame(item).pixels
            except InputError as error:
                self._skip(f"frame {index}", InputError(f"frame {index} of {self.info.name}: {error}"))
                gap = ("after_gap",)
                continue
            yield Frame(image, index, time, None, gap)
            gap = ()

    def _release(self) -> None:
        items, self._items = self._items, None
        close = getattr(items, "close", None)
        if close is not None:
            close()


def from_array(
    array: NDArray[Any],
    *,
    live: bool = False,
    on_error: str = "raise",
    name: str = "",
    files: tuple[Path, ...] = (),
) -> Source:
    """[N, H, W] or [N, H, W, 1 or 3] as N frames; [H, W] or [H, W, 1 or 3] as one.

    Args:
        array: The frames.
        live: Whether they come at a camera's pace.
        on_error: As in `Source`.
        name: What messages call the source; by default the shape.
        files: Where the array lies, if it does.

    Raises:
        InputError: Another number of axes, or no frame at all.
    """
    # No frame is three pixels wide, so a last axis of 1 or 3 counts planes.
    planes = array.ndim >= 3 and array.shape[-1] in (1, 3)
    axes = array.ndim - planes
    if axes not in (2, 3):
        raise InputError(
            f"an array source must be [N, H, W] or [H, W], got {array.ndim}-D shape {array.shape}"
        )
    frames = array[None] if axes == 2 else array
    if len(frames) == 0:
        raise InputError(f"an array source must hold at least one frame, got shape {array.shape}")
    height, width = frames.shape[1:3]
    info = SourceInfo(
        "array", name or f"array {array.shape}", int(width), int(height), count=len(frames), live=live
    )
    return Arrays(frames, info, on_error=on_error, files=files)


def from_array_file(path: Path, name: str, *, on_error: str = "raise") -> Source:
    """The array of a ``.npy`` file as frames, read from the disk as they are needed.

    Raises:
        SourceError: It cannot be read, or holds pickled objects, which are not loaded.
        InputError: As in `from_array`.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(
            f"{name}: no array of numbers can be read from it ({error}); write it with numpy.save(path, frames)"
        ) from error
    return from_array(array, on_error=on_error, name=name, files=(path,))


def from_iterable(items: Iterable[Any], *, live: bool = False, on_error: str = "raise") -> Source:
    """Each item of a list or generator as one frame. A generator is closed with the source."""
    count = len(items) if isinstance(items, (list, tuple)) else None
    if count == 0:
        raise InputError(f"an empty {type(items).__name__} holds no frame; pass at least one array [H, W]")
    info = SourceInfo("iterable", type(items).__name__, count=count, live=live)
    return Arrays(items, info, on_error=on_error)


def from_callable(read: Callable[[], Any], *, live: bool = True, on_error: str = "raise") -> Source:
    """Each call of `read` as one frame, until it returns None. It is live unless it is said not to be."""
    name = getattr(read, "__qualname__", type(read).__qualname__)
    return Arrays(_Calls(read), SourceInfo("callable", f"{name}()", live=live), on_error=on_error)


class _Calls:
    def __init__(self, read: Callable[[], Any]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Any]:
        while (item := self._read()) is not None:
            if not isinstance(item, np.ndarray):
                raise InputError(
                    f"a source function must return an array [H, W], or None at the end, got {type(item).__name__}"
                )
            yield item
