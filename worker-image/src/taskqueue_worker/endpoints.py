"""Serves /healthz, /readyz and /metrics on the event loop of the connection, which no handler holds."""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import generate_latest

from .metrics import Metrics

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_log = structlog.get_logger("endpoints")


async def serve_endpoints(
    port: int,
    metrics: Metrics,
    *,
    application: Callable[[], Awaitable[bytes]],
    alive: Callable[[], bool],
    ready: Callable[[], bool],
) -> web.AppRunner:
    """Listen on all addresses of the pod; `cleanup()` of the result stops the server.

    Args:
        port: The port; 0 selects a free one.
        metrics: The metrics of the worker.
        application: Returns the metrics of the application.
        alive: Whether the container may go on.
        ready: Whether the pod counts as ready.

    Raises:
        OSError: The port is in use.
    """

    def probe(is_healthy: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text="ok\n") if is_healthy() else web.Response(status=503, text="no\n")

        return answer

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(metrics.registry) + await application(), headers={"Content-Type": METRICS_TYPE}
        )

    app = web.Application()
    app.add_routes([web.get("/healthz", probe(alive)), web.get("/readyz", probe(ready)), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()
    _log.info("listening", port=runner.addresses[0][1])
    return runner
