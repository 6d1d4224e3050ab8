"""Serves health and metrics from the control loop's own event loop: one that hangs cannot answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What is answered, to anybody who can reach the port: so nothing of it is secret.

    Attributes:
        registry: All metrics.
        is_ready: Whether the watches have begun.
    """

    registry: CollectorRegistry
    is_ready: Callable[[], bool]

    async def livez(self, _: web.Request) -> web.Response:
        """Say that the event loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """Say whether the watches have begun."""
        ready = self.is_ready()
        return web.Response(text="ok\n" if ready else "waiting for the API server\n", status=200 if ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer a scrape; in a thread, for with 1,000 TaskQueues it takes 50 ms in which decisions would wait."""
        text = await asyncio.to_thread(generate_latest, self.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def serving(port: int, endpoints: Endpoints) -> AsyncIterator[None]:
    """Serve while the context lasts."""
    app = web.Application()
    app.router.add_get("/livez", endpoints.livez)
    app.router.add_get("/readyz", endpoints.readyz)
    app.router.add_get("/metrics", endpoints.metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        # All addresses of the pod: the kubelet and Prometheus come from outside it.
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        async with asyncio.timeout(5):
            await runner.cleanup()
