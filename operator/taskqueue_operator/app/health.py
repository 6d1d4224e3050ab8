"""Serves health, metrics and recordings from the control loop's own event loop: one that hangs cannot answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from taskqueue_operator.resource.names import Key

Recordings = Callable[[Key], bytes | None]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What is answered, to anybody who can reach the port: so nothing of it is secret.

    Attributes:
        registry: All metrics.
        readiness: What this process is ready for; None while it is for nothing.
        recordings: The last decisions on a TaskQueue, as JSON; None when it is not known.
    """

    registry: CollectorRegistry
    readiness: Callable[[], str | None]
    recordings: Recordings

    async def livez(self, _: web.Request) -> web.Response:
        """Say that the event loop turns."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """Say whether this process watches, or stands by while another one does."""
        ready = self.readiness()
        return web.Response(text=f"{ready or 'waiting for the API server'}\n", status=200 if ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer a scrape; in a thread, for with 1,000 TaskQueues it takes 50 ms in which decisions would wait."""
        text = await asyncio.to_thread(generate_latest, self.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def decisions(self, request: web.Request) -> web.Response:
        """Show the last decisions on one TaskQueue."""
        key = Key(**request.match_info)
        recorded = self.recordings(key)
        if recorded is None:
            unknown = f"The operator knows no TaskQueue {key}: there is none, or its namespace is not watched.\n"
            return web.Response(text=unknown, status=404)
        return web.Response(body=recorded, content_type="application/json")


@asynccontextmanager
async def serving(port: int, endpoints: Endpoints) -> AsyncIterator[None]:
    """Serve while the context lasts."""
    app = web.Application()
    app.router.add_get("/livez", endpoints.livez)
    app.router.add_get("/readyz", endpoints.readyz)
    app.router.add_get("/metrics", endpoints.metrics)
    app.router.add_get("/debug/taskqueues/{namespace}/{name}", endpoints.decisions)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        # All addresses of the pod: the kubelet and Prometheus come from outside it.
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        async with asyncio.timeout(5):
            await runner.cleanup()
