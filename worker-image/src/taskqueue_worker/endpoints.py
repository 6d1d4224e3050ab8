"""/healthz, /readyz and /metrics, on the event loop that does the work: if it hangs, so do they."""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from prometheus_client import generate_latest

from .metrics import Metrics

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = structlog.get_logger(__name__)


async def serve_endpoints(
    port: int, metrics: Metrics, *, alive: Callable[[], bool], ready: Callable[[], bool]
) -> web.AppRunner:
    """Listen on all addresses of the pod; `cleanup()` of the result ends it.

    Raises:
        OSError: the port is taken.
    """

    def probe(healthy: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text="ok\n") if healthy() else web.Response(status=503, text="no\n")

        return answer

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", probe(alive)), web.get("/readyz", probe(ready)), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, host=None, port=port).start()
    log.info("listening", port=runner.addresses[0][1])
    return runner
