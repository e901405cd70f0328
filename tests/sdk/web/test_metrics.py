# SPDX-License-Identifier: Apache-2.0
"""``/metrics`` of the live view: there, readable, and behind the token."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")
pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from pitviper import sdk
from pitviper.sdk.sinks import Metrics
from pitviper.sdk.sources import SourceInfo
from pitviper.sdk.web import make_app


def client(token: str | None = None, **options: Any) -> TestClient:
    metrics = Metrics()
    stats = sdk.StreamStats(7, 5, {"newer": 2}, 0, 1.0)
    info = SourceInfo("script", "script")
    metrics.watch(SimpleNamespace(info=info, state="live", threshold=0.5, stats=stats))
    view: Any = None
    return TestClient(make_app(view, token=token, **{"metrics": metrics, **options}))


def test_the_numbers_are_there() -> None:
    answer = client().get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    outcomes = {sample.labels["outcome"]: sample.value for sample in families["pitviper_frames"].samples}
    assert outcomes == {"processed": 5, "newer": 2}
    text = client().get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert text.headers["content-type"].startswith("application/openmetrics-text")


def test_they_are_behind_the_token() -> None:
    guarded = client("open sesame")
    assert guarded.get("/metrics").status_code == 401
    assert guarded.get("/metrics?token=open+sesame").status_code == 401, (
        "a token in an address ends up in logs"
    )
    assert guarded.get("/metrics", headers={"authorization": "Bearer open sesame"}).status_code == 200


def test_other_names_of_the_server_are_refused() -> None:
    assert client(hosts=("localhost",)).get("/metrics").status_code == 421


def test_without_metrics_there_is_no_such_page() -> None:
    assert client(metrics=None).get("/metrics").status_code == 404
