# SPDX-License-Identifier: Apache-2.0
"""The `Detector`: a model on an engine, from frames to targets."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from pitviper.core.manifest import Manifest, Package, PackageError
from pitviper.sdk.aliases import resolve_precision, resolve_threshold
from pitviper.sdk.arguments import is_whole, require_whole
from pitviper.sdk.contexts import Contexts
from pitviper.sdk.detections import Detections
from pitviper.sdk.engines import Engine, EngineInfo, open_engine
from pitviper.sdk.errors import InputError, ModelError
from pitviper.sdk.fa_budget import Threshold, resolve_budget
from pitviper.sdk.frame_path import MAX_TARGETS, FramePath
from pitviper.sdk.frames import SMALLEST, CheckedFrame, check_frame, require_polarity
from pitviper.sdk.model import open_model
from pitviper.sdk.tiling import Tiling

if TYPE_CHECKING:
    from pitviper.sdk.async_stream import AsyncStream
    from pitviper.sdk.export import ExportReport
    from pitviper.sdk.profile import Profile
    from pitviper.sdk.reconnect import Reconnect
    from pitviper.sdk.stream import Stream
    from pitviper.sdk.thermal import ThermalMonitor

__all__ = ["Detector"]

_LOG = logging.getLogger("pitviper")


class Detector:
    """Finds targets of a few pixels in thermal frames.

    One detector may be used by many threads at once: it returns what it returns serially. Preparing frames
    and extracting targets run in the calling threads, the network runs one call at a time on each context.

    Args:
        model: Name of a shipped model (`list_models`), the path of a weights package, or an opened package.
        engine: ``auto``, a name of `engines`, or an object that keeps the `Engine` protocol. An engine
            that is asked for by name runs or raises; what ``auto`` chose stands in `engine_info`.
        device: ``auto``, ``cpu``, or with the torch engine ``cuda`` or ``cuda:N``.
        precision: ``auto`` (fp32 on a CPU), or what the engine offers, such as ``bf16`` or ``int8``; `engine_info`
            says what really runs. ``half=True`` is an alias of ``fp16``.
        threshold: Probability in [0, 1) that a pixel has to exceed, `LogOdds`, a `FaBudget`, or a `Calibration` or
            the path of one; None takes the model's operating point.
        max_targets: Most targets of one frame, those with the highest peaks; more set the flag ``truncated``.
        tile: When and how large frames are cut; see `Tiling`.
        threads: Threads of the network; None leaves it to the runtime.
        warmup: Run once at construction, on 64 x 64 pixels or on the given (H, W), so that the first frame
            takes no longer than the others; False leaves it out.
        polarity: ``bright``, or ``dark`` for targets darker than their surroundings: warm ones on a black-hot
            camera, or cold ones. The network sees the negative; frames, pictures and SNR stay as they are.
        contexts: Instances of the network, each with its own memory, on which as many threads run at the same time.

    Raises:
        ModelError: Unknown, damaged (`IntegrityError`) or unsafe (`UnsafeWeights`) model.
        EngineUnavailable: The engine, device or precision cannot be had here.
        InputError: Another argument is out of range.

    Example:
        >>> with Detector("pit-s") as detector:                              # doctest: +SKIP
        ...     for target in detector.detect(frame):
        ...         print(target.x, target.y, target.score)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Package = "pit-s",
        *,
        engine: str | Engine = "auto",
        device: str = "auto",
        precision: str = "auto",
        threshold: Threshold | None = None,
        max_targets: int = MAX_TARGETS,
        tile: Tiling | None = None,
        threads: int | None = None,
        warmup: bool | tuple[int, int] = True,
        contexts: int = 1,
        polarity: str = "bright",
        **others: Any,
    ) -> None:
        precision = resolve_precision(precision, others)
        if not isinstance(device, str):
            raise InputError(f"device must be a string such as 'auto', 'cpu' or 'cuda:0', got {device!r}")
        _check_settings(max_targets, threads, tile, warmup, contexts)
        require_polarity(polarity)
        self._polarity = polarity
        self._package = model if isinstance(model, Package) else open_model(model)
        given = resolve_threshold(self._resolved(threshold), others, "Detector")
        if given is None:
            given = _operating_point(self._package)
        self._threshold = given
        if isinstance(engine, str):
            opened = [
                open_engine(engine, self._package, device=device, precision=precision, threads=threads)
                for _ in range(contexts)
            ]
            running, self._info = [one for one, _ in opened], opened[0][1]
        elif not isinstance(engine, Engine):
            raise InputError(
                f"engine must be 'auto', a name of `engines` or an Engine of your own, got {engine!r}"
            )
        elif (device, precision, threads, contexts) == ("auto", "auto", None, 1):
            running, self._info = [engine], engine.info
        else:
            raise InputError(
                "device, precision, threads and contexts belong to engines by name; set up your own engine before"
            )
        self._path = FramePath(
            Contexts(running),
            stride=self.manifest.stride,
            tiling=tile or Tiling(),
            max_targets=max_targets,
            polarity=polarity,
        )
        if warmup is not False:
            height, width = (64, 64) if warmup is True else warmup
            shape = (max(height, SMALLEST), max(width, SMALLEST))
            self.detect(np.zeros(shape, np.uint16))
            if contexts > 1:
                self._path.warm_up(shape)

    @property
    def manifest(self) -> Manifest:
        """What the model is, where it comes from and how well it did on validation data."""
        return self._package.manifest

    @property
    def package(self) -> Package:
        """The verified weights package."""
        return self._package

    @property
    def engine_info(self) -> EngineInfo:
        """What the network really runs on."""
        return self._info

    @property
    def threshold(self) -> float:
        """Probability that a pixel has to exceed, where a call does not say otherwise."""
        return self._threshold

    @property
    def polarity(self) -> str:
        """Whether targets are ``bright`` or ``dark`` against their surroundings."""
        return self._polarity

    @property
    def gives_log_odds(self) -> bool:
        """Whether its engine can be asked for log-odds, so that a threshold may be a `LogOdds`."""
        return self._path.gives_log_odds

    def detect(self, frame: Any, *, threshold: Threshold | None = None, **others: Any) -> Detections:
        """Targets of one frame.

        Args:
            frame: uint8, uint16, float16 or float32 [H, W] (or [H, W, 1], or three equal planes), at least
                32 x 32 pixels, finite, in counts or kelvin: gain and offset do not matter. Or the path of an
                image file. Never resized, never written to.
            threshold: As in the constructor, for this frame only.

        Raises:
            InputError: Not such a frame; the message says what was given and what to do.
            SourceError: The file cannot be read.
            EngineError: The engine failed, or the detector is closed.
        """
        chosen = self._chosen(threshold, others, "detect")
        return self._path.one(self._checked(frame), chosen, name=_file_name(frame))

    def __call__(self, frame: Any, *, threshold: Threshold | None = None, **others: Any) -> Detections:
        """The same as `detect`."""
        return self.detect(frame, threshold=threshold, **others)

    def detect_batch(
        self, frames: Iterable[Any], *, threshold: Threshold | None = None, **others: Any
    ) -> list[Detections]:
        """Targets of several frames, always as a list in their order, ``frame_id`` counting from 0.

        Frames of equal size go through the network together; every result equals that of `detect`.

        Args:
            frames: Frames as in `detect`, of any sizes; an array [N, H, W] will do.
            threshold: As in the constructor, for these frames only.

        Raises:
            InputError: One of them is no frame, and the message names its index; or ``frames`` is one frame.
            EngineError: The engine failed, or the detector is closed.
        """
        chosen = self._chosen(threshold, others, "detect_batch")
        if isinstance(frames, (str, os.PathLike)) or (isinstance(frames, np.ndarray) and frames.ndim < 3):
            raise InputError("detect_batch takes several frames, got one; use detect or [frame]")
        checked, names = [], []
        for index, frame in enumerate(frames):
            try:
                checked.append(self._checked(frame))
            except InputError as error:
                raise InputError(f"frame {index}: {error}") from error
            names.append(_file_name(frame))
        found = self._path.many(checked, chosen)
        return [replace(each, name=name) if name else each for each, name in zip(found, names, strict=True)]

    def stream(
        self,
        source: Any,
        *,
        mode: str = "auto",
        sinks: Sequence[Any] = (),
        threshold: Threshold | None = None,
        timeout_s: float = 5.0,
        every: int = 1,
        keep_maps: bool = False,
        on_error: str = "raise",
        monitor: ThermalMonitor | None = None,
        tracker: Any = None,
        queue: int | None = None,
        max_age_s: float | None = None,
        reconnect: Reconnect | bool = True,
        **others: Any,
    ) -> Stream:
        """Targets of every frame of a source, one after another: an iterator and a context manager.

        Args:
            source: A source, or what `open_source` accepts: path, folder, glob, URI, arrays, callable.
            mode: ``all`` (every frame, in order, none dropped: the reader waits), ``latest`` (the newest frame, older
                ones are dropped and counted), ``fresh`` (in order, but none older than ``max_age_s``),
                ``throughput`` (as ``all``, several frames at once through the network), or ``auto``: ``latest`` for
                a live source, else ``all``.
            sinks: Where each frame and its result are written: before the result is returned, or in ``latest`` and
                ``fresh`` each in a thread of its own, so that a slow one makes no result late (see `sinks.Background`).
                The stream closes them.
            threshold: As in the constructor, for this stream only.
            timeout_s: Longest wait for a frame in seconds before `SourceTimeout`; three times that for a source that
                is opened again by itself, and none while it is ``reconnecting``.
            every: Process every n-th frame; the others are counted as dropped with the cause ``every``.
            keep_maps: Keep the score map of each result; otherwise it is let go at the next frame.
            on_error: ``raise``, or ``skip`` for frames that cannot be read or used: they are logged and counted.
            monitor: Looks at each frame and puts flags on its result; one for each stream.
            tracker: A `Tracker`, or another object with ``update(detections, *, frame)``, which fills ``track_id``
                before the sinks see a result; one for each stream.
            queue: Frames between the reader and the detector: 1 in ``latest``, else 2 (``all``) or 8 by default. It is
                also the largest batch of ``throughput``.
            max_age_s: For ``fresh``: frames that waited longer are dropped and counted (``stale``); 0.5 by default.
            reconnect: What to do when a live source that was given by its address or as a function is lost: a
                `Reconnect`, True for its defaults, False to raise at once.

        Raises:
            SourceError: The source cannot be opened.
            InputError: An argument is out of range.
        """
        from pitviper.sdk.stream import Stream, close_all
        from pitviper.sdk.stream_settings import StreamSettings

        try:
            settings = StreamSettings(
                mode=mode,
                threshold=self._chosen(threshold, others, "stream"),
                timeout_s=timeout_s,
                every=every,
                keep_maps=keep_maps,
                on_error=on_error,
                queue=queue,
                max_age_s=max_age_s,
                reconnect=reconnect,
            )
        except (InputError, TypeError):
            close_all(sinks, quietly=True)
            raise
        return Stream(self, source, settings, sinks, monitor=monitor, tracker=tracker)

    def astream(self, source: Any, **options: Any) -> AsyncStream:
        """`stream` for asyncio: an asynchronous iterator and context manager. The event loop is never blocked.

        Args:
            source: As in `stream`; opened when the first result is asked for, or at ``async with``.
            options: Those of `stream`.

        Example:
            >>> async def follow(detector: Detector) -> None:                # doctest: +SKIP
            ...     async with detector.astream("rtsp://camera/stream") as stream:
            ...         async for found in stream:
            ...             print(found.frame_id, len(found))
        """
        from pitviper.sdk.async_stream import AsyncStream

        return AsyncStream(lambda: self.stream(source, **options))

    def export(self, path: str | os.PathLike[str], **options: Any) -> ExportReport:
        """Write the whole detector as one file, or with its network in 8 bits, and check it.

        Args:
            path: File or package to write.
            options: ``format``, ``precision``, ``calibrate``, ``ranges``, ``verify`` and ``force`` of
                `export.export_model`.
        """
        from pitviper.sdk.export import export_model

        return export_model(self, path, **options)

    def profile(
        self, shape: tuple[int, int] = (512, 640), *, seconds: float = 5.0, dtype: Any = np.uint16
    ) -> Profile:
        """Time each stage on a synthetic frame of ``shape`` (H, W). See `profile.profile_detector`."""
        from pitviper.sdk.profile import profile_detector

        return profile_detector(self, shape, seconds=seconds, dtype=dtype)

    def close(self) -> None:
        """Let go of the engine. Results stay valid; further calls raise `EngineError`. Twice is fine."""
        self._path.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        info = self._info
        return f"Detector({self.manifest.name!r}, engine={info.name!r}, device={info.device!r})"

    def _chosen(self, threshold: Threshold | None, others: dict[str, Any], call: str) -> float:
        given = resolve_threshold(self._resolved(threshold), others, call)
        return self._threshold if given is None else given

    def _resolved(self, threshold: Threshold | None) -> Any:
        return resolve_budget(threshold, self._package, self._polarity)

    def _checked(self, frame: Any) -> CheckedFrame:
        checked = check_frame(frame)
        if "agc_suspected" in checked.flags:
            _note_eight_bits()
        return checked

    def _detect_streamed(self, frame: Any, threshold: float, **values: Any) -> Detections:
        """`detect` for `Stream`: ``values`` are what the stream knows of the frame (its index, time, ...)."""
        return self._path.one(self._checked(frame), threshold, **values)


def _file_name(frame: Any) -> str | None:
    """Name of a frame that was given as a path, as streams of files have it."""
    return os.path.basename(os.fspath(frame)) if isinstance(frame, (str, os.PathLike)) else None


def _check_settings(
    max_targets: object, threads: object, tile: object, warmup: object, contexts: object
) -> None:
    require_whole("max_targets", max_targets, least=1)
    require_whole("contexts", contexts, least=1)
    if threads is not None:
        require_whole("threads", threads, least=1, note=", or None for the runtime's choice")
    if tile is not None and not isinstance(tile, Tiling):
        raise InputError(f"tile must be a Tiling or None, got {tile!r}; for example Tiling(side=1024)")
    if isinstance(warmup, bool):
        return
    if not (
        isinstance(warmup, tuple) and len(warmup) == 2 and all(is_whole(side) and side > 0 for side in warmup)
    ):
        raise InputError(f"warmup must be True, False or the (H, W) of a frame, got {warmup!r}")


def _operating_point(package: Package) -> float:
    try:
        return package.manifest.default_threshold()
    except PackageError as error:
        raise ModelError(str(error)) from error


@functools.cache
def _note_eight_bits() -> None:
    _LOG.info("8-bit frames: the camera's gain control may have removed faint targets; prefer raw counts")
