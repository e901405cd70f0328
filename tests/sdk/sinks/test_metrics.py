# SPDX-License-Identifier: Apache-2.0
"""Numbers for Prometheus, read back with the parser of its own client."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.drift import Change, DriftStats
from pitviper.sdk.sinks import Callback, Metrics, OutputStats
from pitviper.sdk.sources import SourceInfo
from pitviper.sdk.thermal import MonitorStats

parser = pytest.importorskip("prometheus_client.parser", reason="the extra metrics is not installed")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(page: bytes) -> Samples:
    """Each sample by its name and its labels; a name and labels that come twice are a fault."""
    found: Samples = {}
    for family in parser.text_string_to_metric_families(page.decode()):
        assert family.documentation, f"{family.name} says what it is"
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def of(samples: Samples, name: str) -> dict[str, float]:
    """The samples of a name, by the values of their labels, these by their names."""
    return {"/".join(v for _, v in labels): value for (key, labels), value in samples.items() if key == name}


def frames(count: int, live: bool) -> Any:
    made = iter(range(count))

    def camera() -> Any:
        number = next(made, None)
        if number is None:
            return None
        image = np.random.default_rng(number).normal(7800, 12, (40, 48)).astype(np.uint16)
        image[8:10, 9] += 900
        return image

    return camera if live else [camera() for _ in range(count)]


def test_the_page_says_what_the_stream_says(detector: sdk.Detector) -> None:
    metrics, monitor, tracker = Metrics(), sdk.ThermalMonitor(), sdk.Tracker(confirm=(2, 3), clock=25.0)
    targets = 0
    options: dict[str, Any] = {"every": 2, "monitor": monitor, "tracker": tracker}
    with detector.stream(
        frames(40, live=False), sinks=[metrics, Callback(print_nothing)], **options
    ) as stream:
        metrics.watch(stream, detector=detector, monitor=monitor, tracker=tracker)
        before = read(metrics.expose()[0])
        assert of(before, "pitviper_state")["opening"] + of(before, "pitviper_state")["live"] == 1
        for found in stream:
            targets += len(found)
            last = found
    page = read(metrics.expose()[0])
    assert of(page, "pitviper_frames_captured_total") == {"": 40}
    assert of(page, "pitviper_frames_total") == {"processed": 20, "every": 20}
    assert of(page, "pitviper_frames_waiting") == {"": 0}
    assert of(page, "pitviper_targets_found_total") == {"": targets}
    assert targets >= 20
    assert of(page, "pitviper_last_targets") == {"": len(last)}
    assert of(page, "pitviper_tracks") == {"confirmed": 1, "coasting": 0}
    assert of(page, "pitviper_tracks_confirmed_total") == {"": tracker.stats.confirmed}
    assert {k: v for k, v in of(page, "pitviper_state").items() if v} == {"ended": 1}
    assert of(page, "pitviper_threshold") == {"": 0.5}
    assert of(page, "pitviper_source_reconnects_total") == {"": 0}
    assert of(page, "pitviper_results_flagged_total") == dict(stream.stats.flagged)
    assert of(page, "pitviper_output_results_total") == {"written/print_nothing": 20}
    assert of(page, "pitviper_bad_pixels") == {"": 0}
    assert of(page, "pitviper_drift_looks_needed") == {"": monitor.stats.drift.looks_needed}
    (about,) = [dict(labels) for (name, labels) in page if name == "pitviper_info"]
    assert (about["model"], about["engine"], about["kind"]) == ("toy", "toy", "iterable")
    assert about["version"]
    assert of(page, "process_resident_memory_bytes")[""] > 0


def print_nothing(frame: Any, found: sdk.Detections) -> None:
    pass


def test_histograms_hold_every_result_in_seconds(detector: sdk.Detector) -> None:
    metrics = Metrics()
    with detector.stream(frames(12, live=True), mode="all", sinks=[metrics]) as stream:
        metrics.watch(stream)
        timings = [found.timing for found in stream]
    page = read(metrics.expose()[0])
    assert of(page, "pitviper_result_age_seconds_count") == {"": 12}
    total = sum(timing.age_ms or 0 for timing in timings) / 1e3
    assert of(page, "pitviper_result_age_seconds_sum")[""] == pytest.approx(total)
    counts = of(page, "pitviper_result_age_seconds_bucket")
    assert counts["+Inf"] == 12
    for edge in ("0.001", "0.01", "0.1", "5.0"):
        assert counts[edge] == sum((timing.age_ms or 0) / 1e3 <= float(edge) for timing in timings)
    stages = of(page, "pitviper_stage_seconds_sum")
    for stage in ("wait", "standardise", "network", "extract", "total"):
        assert stages[stage] == pytest.approx(sum(getattr(t, f"{stage}_ms") for t in timings) / 1e3)


class Stub:
    """As much of a stream as the page reads."""

    info = SourceInfo("script", "script")
    state, threshold = "live", 0.5
    stats = sdk.StreamStats(1, 1, {}, 0, 1.0)


def test_drift_is_there_when_it_is_known() -> None:
    changes = {"noise_counts": Change(5.0, 7.5, 1.5), "score_p50": Change(0.0, 0.25, None)}
    stats = MonitorStats(512, {}, 0, 3, 0, None, DriftStats(64, 0, changes))
    metrics = Metrics()
    metrics.watch(Stub(), monitor=SimpleNamespace(stats=stats))
    page = read(metrics.expose()[0])
    assert of(page, "pitviper_drift_reference") == {"noise_counts": 5.0, "score_p50": 0.0}
    assert of(page, "pitviper_drift_now") == {"noise_counts": 7.5, "score_p50": 0.25}
    assert of(page, "pitviper_drift_ratio") == {"noise_counts": 1.5}, (
        "none where there was nothing to divide by"
    )
    assert of(page, "pitviper_drift_looks_needed") == {"": 0}
    assert of(page, "pitviper_bad_pixels") == {"": 3}


def test_outputs_and_their_connections() -> None:
    class Watched(Stub):
        stats = sdk.StreamStats(
            9,
            9,
            {},
            0,
            1.0,
            outputs={
                "mqtt": OutputStats(9, 2, {"offline": 3}, 4, connected=False),
                "Masks": OutputStats(9, 9),
            },
        )

    metrics = Metrics()
    metrics.watch(Watched())
    page = read(metrics.expose()[0])
    results = {"written/mqtt": 2, "offline/mqtt": 3, "written/Masks": 9}
    assert of(page, "pitviper_output_results_total") == results
    assert of(page, "pitviper_output_waiting") == {"mqtt": 4, "Masks": 0}
    assert of(page, "pitviper_output_connected") == {"mqtt": 0}


def test_serving_on_this_machine_only(detector: sdk.Detector) -> None:
    metrics = Metrics()
    port = metrics.serve(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            assert answer.headers["content-type"] == metrics.expose()[1]
            assert ("pitviper_targets_found_total", ()) in read(answer.read())
        second = Metrics()
        with pytest.raises(sdk.InputError, match=rf"cannot listen on 127\.0\.0\.1:{port} .*take another"):
            second.serve(port)
        with pytest.raises(sdk.InputError, match="cannot listen on no-such-host"):
            second.serve(0, "no-such-host.invalid")
    finally:
        metrics.close()
        metrics.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(sdk.MissingExtra, match=r"pitviper\[metrics\]"):
        Metrics()


def test_source_names_cannot_forge_lines() -> None:
    class Odd(Stub):
        info = SourceInfo("script", 'a"} 1\npitviper_frames_total{outcome="forged"} 9')

    metrics = Metrics()
    metrics.watch(Odd())
    page = read(metrics.expose()[0])
    assert of(page, "pitviper_frames_total") == {"processed": 1}
    (about,) = [dict(labels) for (name, labels) in page if name == "pitviper_info"]
    assert about["source"] == Odd.info.name


def test_open_metrics_for_whom_asks_for_it() -> None:
    metrics = Metrics()
    metrics.watch(Stub())
    page, kind = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")
