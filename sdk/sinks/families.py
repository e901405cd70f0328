# SPDX-License-Identifier: Apache-2.0
"""The numbers of a stream as families of Prometheus metrics. Names, units and meanings: docs/outputs.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pitviper import __version__
from pitviper.sdk.stream import StreamState

__all__ = ["Last", "Watched", "families"]

Last = tuple[int, list[str] | None]
"""Number of targets of the last result, and the states of its tracks where a tracker runs."""
_TRACK_STATES: Final = ("confirmed", "coasting")


@dataclass(frozen=True)
class Watched:
    """Whose numbers are shown: see `Metrics.watch`."""

    stream: Any
    detector: Any = None
    monitor: Any = None
    tracker: Any = None


def families(core: Any, watched: Watched, last: Last | None) -> Iterator[Any]:
    """All families at this moment.

    Args:
        core: The module ``prometheus_client.core``.
        watched: Whose numbers.
        last: Of the last result, None before the first.
    """
    make = _Maker(core)
    yield make.info(watched)
    yield from _stream(make, watched.stream)
    yield from _outputs(make, watched.stream.stats.outputs)
    if last is not None:
        yield make.gauge("last_targets", "Targets of the last result.", last[0])
        if last[1] is not None:
            found = Counter(last[1])
            states = {state: found[state] for state in _TRACK_STATES}
            yield make.gauges("tracks", "Tracks at the last result.", "state", states)
    if watched.tracker is not None and hasattr(watched.tracker, "stats"):
        yield make.counter("tracks_confirmed", "Tracks confirmed.", watched.tracker.stats.confirmed)
    if watched.monitor is not None:
        yield from _monitor(make, watched.monitor.stats)


class _Maker:
    """Families of the library with our prefix."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def gauge(self, name: str, text: str, value: float) -> Any:
        return self._core.GaugeMetricFamily(f"pitviper_{name}", text, value=value)

    def gauges(self, name: str, text: str, label: str, values: Mapping[str, float]) -> Any:
        family = self._core.GaugeMetricFamily(f"pitviper_{name}", text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family

    def counter(self, name: str, text: str, value: float) -> Any:
        return self._core.CounterMetricFamily(f"pitviper_{name}", text, value=value)

    def counters(self, name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> Any:
        family = self._core.CounterMetricFamily(f"pitviper_{name}", text, labels=labels)
        for key, value in values.items():
            family.add_metric(key, value)
        return family

    def info(self, watched: Watched) -> Any:
        source = watched.stream.info
        about = {"version": __version__, "source": source.name, "kind": source.kind}
        if watched.detector is not None:
            engine = watched.detector.engine_info
            about |= {"model": watched.detector.manifest.name, "engine": engine.name}
            about |= {"device": engine.device, "precision": engine.precision}
        return self._core.InfoMetricFamily("pitviper", "What runs here.", value=about)


def _stream(make: _Maker, stream: Any) -> Iterator[Any]:
    stats, state = stream.stats, stream.state
    yield make.counter("frames_captured", "Frames that the source delivered.", stats.captured)
    outcomes = {("processed",): stats.processed, **{(cause,): n for cause, n in stats.dropped.items()}}
    yield make.counters(
        "frames", "Frames by what became of them: processed, or the cause of a loss.", ["outcome"], outcomes
    )
    yield make.gauge("frames_waiting", "Frames in the buffer and in work.", stats.waiting)
    flagged = {(flag,): count for flag, count in stats.flagged.items()}
    yield make.counters("results_flagged", "Results with each flag.", ["flag"], flagged)
    yield make.counter("source_reconnects", "Times that a lost source was opened again.", stats.reconnects)
    states = {name: float(name == state) for name in get_args(StreamState)}
    yield make.gauges("state", "1 at the state of the stream.", "state", states)
    yield make.gauge("threshold", "Probability that a pixel has to exceed.", stream.threshold)


def _outputs(make: _Maker, outputs: Mapping[str, Any]) -> Iterator[Any]:
    if not outputs:
        return
    results = {}
    for name, stats in outputs.items():
        for outcome, count in {"written": stats.written, **stats.dropped}.items():
            results[name, outcome] = count
    yield make.counters(
        "output_results", "Results by what an output did with them.", ["output", "outcome"], results
    )
    waiting = {name: stats.waiting for name, stats in outputs.items()}
    yield make.gauges("output_waiting", "Results that wait for an output.", "output", waiting)
    linked = {name: float(stats.connected) for name, stats in outputs.items() if stats.connected is not None}
    if linked:
        yield make.gauges("output_connected", "1 while an output has its connection.", "output", linked)


def _monitor(make: _Maker, stats: Any) -> Iterator[Any]:
    yield make.gauge("bad_pixels", "Pixels known to be bad.", stats.bad_px)
    yield make.gauge("drift_looks_needed", "Looks that the reference still needs.", stats.drift.looks_needed)
    changes = stats.drift.changes
    for name, text in (("reference", "then"), ("now", "now")):
        values = {measure: getattr(change, name) for measure, change in changes.items()}
        yield make.gauges(f"drift_{name}", f"Noise, fixed pattern, focus, scores: {text}.", "measure", values)
    ratios = {measure: change.ratio for measure, change in changes.items() if change.ratio is not None}
    yield make.gauges("drift_ratio", "Now over reference.", "measure", ratios)
