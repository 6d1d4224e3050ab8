"""A reverse proxy before the management API, at a path of its own, which can spoil the listing of queues."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from yarl import URL

REFUSING = "refusing"
"""Name under which every write is refused for a reason that is longer than a condition may be."""
LONG_REASON = "no " * 15_000
Spoil = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


class ManagementProxy:
    """Leads `<url>/<any name>` to the management API; under the name of a way to spoil it, listings are spoilt."""

    def __init__(self, management_url: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/behind"
        self.requests = 0
        self._management_url = management_url

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Send the request on, byte by byte as it was, and the answer back."""
        self.requests += 1
        _, prefix, name, rest = request.raw_path.split("/", 3)
        assert prefix == "behind"
        if name == REFUSING and request.method == "PUT":
            refusal = {"error": "bad_request", "reason": LONG_REASON}
            return web.Response(status=400, body=orjson.dumps(refusal), content_type="application/json")
        url = URL(f"{self._management_url}/{rest}", encoded=True)
        headers = {
            name: request.headers[name] for name in ("Authorization", "If-None-Match") if name in request.headers
        }
        async with aiohttp.ClientSession() as session:
            try:
                answer = await session.request(request.method, url, headers=headers, data=await request.read())
            except aiohttp.ClientError:
                return web.Response(status=502)
            body = await answer.read()
        if name in SPOILS and rest.startswith("api/queues/"):
            return await SPOILS[name](request, body)
        tag = {name: answer.headers[name] for name in ("ETag",) if name in answer.headers}
        return web.Response(status=answer.status, body=body, content_type=answer.content_type, headers=tag)


@asynccontextmanager
async def proxied(management_url: str) -> AsyncIterator[ManagementProxy]:
    """Run a proxy within the context."""
    application = web.Application()
    runner = web.AppRunner(application)
    # Only when the runner is set up is it too late for routes; the port is known after that.
    proxies: list[ManagementProxy] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        return await proxies[0].pass_on(request)

    application.router.add_route("*", "/{tail:.*}", handle)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    proxies.append(ManagementProxy(management_url, runner.addresses[0][1]))
    try:
        yield proxies[0]
    finally:
        await runner.cleanup()


async def _half(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def _late(_: web.Request, __: bytes) -> web.StreamResponse:
    await asyncio.sleep(8)
    raise web.HTTPGatewayTimeout


def _status(status: int, body: dict[str, str]) -> Spoil:
    async def answer(_: web.Request, __: bytes) -> web.StreamResponse:
        return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")

    return answer


def _changed(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Spoil:
    async def answer(_: web.Request, body: bytes) -> web.StreamResponse:
        items = [changed for item in orjson.loads(body) if (changed := change(item)) is not None]
        return web.Response(body=orjson.dumps(items), content_type="application/json")

    return answer


async def _page(_: web.Request, __: bytes) -> web.StreamResponse:
    return web.Response(text="<html>Sign in</html>", content_type="text/html")


SPOILS: dict[str, Spoil] = {
    "404": _status(404, {"error": "Object Not Found", "reason": "Not Found"}),
    "401": _status(401, {"error": "not_authorized", "reason": "Not_Authorized"}),
    "500": _status(500, {"error": "Internal Server Error"}),
    "half": _half,
    "late": _late,
    "page": _page,
    "bare": _changed(lambda item: {"name": item["name"], "state": item["state"]}),
    "stopped": _changed(lambda item: item | {"state": "down"}),
    "absent": _changed(lambda _: None),
}
