# SPDX-License-Identifier: Apache-2.0
"""`Metrics`: what a stream does, as numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.errors import InputError, MissingExtra
from pitviper.sdk.sinks.families import Last, Watched, families

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["Metrics"]

_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_STAGES: Final = ("wait", "standardise", "network", "extract", "total")


class Metrics:
    """A sink that counts results, and a page of numbers about a stream: docs/outputs.md lists them.

    Make it, give it to the stream as a sink, `watch` the stream, and hand out `expose` or call `serve`. Ages and stage
    times are histograms over the whole run, in seconds; everything else is read when the page is asked for. Nothing of
    a picture, of a position or of an address with credentials is in it.

    Attributes:
        name: ``metrics``.

    Raises:
        MissingExtra: prometheus-client is not installed.

    Example:
        >>> metrics = Metrics()                                              # doctest: +SKIP
        >>> with detector.stream(source, sinks=[metrics]) as stream:         # doctest: +SKIP
        ...     metrics.watch(stream, detector=detector)
        ...     metrics.serve(9108)
        ...     for found in stream: ...
    """

    when_slow: Final = "own"
    name: Final = "metrics"

    def __init__(self) -> None:
        try:
            self._library: Any = import_module("prometheus_client")
        except ImportError as error:
            raise MissingExtra(
                f"metrics need the package prometheus-client ({error}); pip install 'pitviper[metrics]'"
            ) from error
        self._core: Any = import_module("prometheus_client.core")
        self._exposition: Any = import_module("prometheus_client.exposition")
        self._registry = registry = self._library.CollectorRegistry()
        self._age = self._library.Histogram(
            "pitviper_result_age_seconds",
            "From arrival on this machine to the result; live sources only.",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._stages = self._library.Histogram(
            "pitviper_stage_seconds",
            "Time of one frame in each stage; total is the whole of detect without the wait.",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._targets = self._library.Counter(
            "pitviper_targets_found", "Targets of all results.", registry=registry
        )
        self._watched: Watched | None = None
        self._last: Last | None = None
        self._server: Any = None
        registry.register(self)
        self._library.ProcessCollector(registry=registry)

    def watch(self, stream: Any, *, detector: Any = None, monitor: Any = None, tracker: Any = None) -> None:
        """Say whose numbers are shown.

        Args:
            stream: A `Stream` or a `Pipeline`: state, counts, threshold and what its source is.
            detector: For its model and engine.
            monitor: A `ThermalMonitor`, for bad pixels and drift.
            tracker: A `Tracker`, for its counts.
        """
        self._watched = Watched(stream, detector, monitor, tracker)

    def write(self, frame: Frame, detections: Detections) -> None:
        """Take in one result."""
        timing = detections.timing
        for stage in _STAGES:
            self._stages.labels(stage).observe(getattr(timing, f"{stage}_ms") / 1e3)
        if timing.age_ms is not None:
            self._age.observe(timing.age_ms / 1e3)
        self._targets.inc(len(detections))
        self._last = (
            len(detections),
            None if detections.tracks is None else [t.state for t in detections.tracks],
        )

    def collect(self) -> Iterator[Any]:
        """The families that are read when they are asked for; called by the library."""
        if self._watched is not None:
            yield from families(self._core, self._watched, self._last)

    def describe(self) -> list[Any]:
        """Nothing: the library would otherwise collect once to learn the names."""
        return []

    def expose(self, accept: str = "") -> tuple[bytes, str]:
        """The page, and its content type: Prometheus' text format, or OpenMetrics for whom the header asks for it.

        Args:
            accept: ``Accept`` of the request.
        """
        encode, content_type = self._exposition.choose_encoder(accept)
        page: bytes = encode(self._registry)
        return page, str(content_type)

    def serve(self, port: int, host: str = "127.0.0.1") -> int:
        """Hand the page out at ``http://host:port/metrics`` until `close`, to whoever can reach the address.

        Args:
            port: 0 takes a free one.
            host: Address to listen on.

        Returns:
            The port.

        Raises:
            InputError: The address cannot be listened on.
        """
        try:
            self._server = self._library.start_http_server(port, addr=host, registry=self._registry)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"metrics cannot listen on {host}:{port} ({error}); take another address"
            ) from error
        found: int = self._server[0].server_address[1]
        return found

    def close(self) -> None:
        """Stop serving. Twice is fine."""
        server, self._server = self._server, None
        if server is not None:
            server[0].shutdown()
            server[0].server_close()
            server[1].join()
