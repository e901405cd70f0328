# SPDX-License-Identifier: Apache-2.0
"""``/metrics``: the numbers of a stream for Prometheus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from pitviper.sdk.sinks import Metrics

__all__ = ["metrics_route"]


def metrics_route(metrics: Metrics) -> Route:
    """``GET /metrics`` with what `Metrics.expose` gives; behind the token like everything else."""

    async def answer(request: Request) -> Response:
        # Spreads over a thousand frames are computed for it: not in the loop that serves the picture.
        page, kind = await asyncio.to_thread(metrics.expose, request.headers.get("accept", ""))
        return Response(page, headers={"content-type": kind})

    return Route("/metrics", answer)
