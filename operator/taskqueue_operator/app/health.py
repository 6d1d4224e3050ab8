"""Serves /livez, /readyz and /metrics from the control loop's own event loop: one that hangs cannot answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


@asynccontextmanager
async def serving(port: int, registry: CollectorRegistry, is_ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Serve while the context lasts."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        ready = is_ready()
        return web.Response(text="ok\n" if ready else "waiting for the API server\n", status=200 if ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        # All addresses of the pod: the kubelet and Prometheus come from outside it.
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        async with asyncio.timeout(5):
            await runner.cleanup()
