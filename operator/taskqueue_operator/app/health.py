"""Serves health, metrics and recordings from the controller's event loop: a loop that hangs does not answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from taskqueue_operator.resource.names import Key

Recordings = Callable[[Key], bytes | None]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The HTTP endpoints. Any client that reaches the port can read them: they contain no secrets.

    Attributes:
        page: Returns the page of all metrics.
        readiness: Returns what this process is ready for; None if it is not ready.
        recordings: Returns the recent decisions on a TaskQueue as JSON; None if it is unknown.
    """

    page: Callable[[], Awaitable[bytes]]
    readiness: Callable[[], str | None]
    recordings: Recordings

    async def livez(self, _: web.Request) -> web.Response:
        """Answer that the event loop runs."""
        return web.Response(text="ok\n")

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer whether this process leads, or waits for leadership while another one leads."""
        ready = self.readiness()
        return web.Response(text=f"{ready or 'waiting for the API server'}\n", status=200 if ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer a scrape."""
        return web.Response(body=await self.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def decisions(self, request: web.Request) -> web.Response:
        """Answer with the recent decisions on one TaskQueue."""
        key = Key(**request.match_info)
        recordings = self.recordings(key)
        if recordings is None:
            message = f"TaskQueue {key} not found: it does not exist, or its namespace is not watched.\n"
            return web.Response(text=message, status=404)
        return web.Response(body=recordings, content_type="application/json")


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
        # All addresses of the pod: the kubelet and Prometheus connect from outside.
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        async with asyncio.timeout(5):
            await runner.cleanup()
