"""The HTTP session of kopf. It parses lists and watches within bounds; kopf alone would fail at one nested object."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import kopf
from aiohttp.connector import Connection
from typing_extensions import override

from taskqueue_operator.kube.bounded_objects import PIECE_BYTES, bounded_event, read_body


async def login(**kwargs: Any) -> kopf.AiohttpSession | None:  # noqa: ANN401  kopf's own signature
    """Return a session with the credentials of the pod, else of KUBECONFIG; a kopf login handler."""
    info = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
    if info is None:
        return None
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        response_class=BoundedResponse,
    )
    return kopf.AiohttpSession(
        server=info.server, default_namespace=info.default_namespace, priority=info.priority, aiohttp_session=session
    )


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of the API server: kopf reads a list with `json`, and a watch with `content.iter_chunked`."""

    @override
    async def start(self, connection: Connection) -> "BoundedResponse":
        await super().start(connection)
        if "watch" in self.url.query:
            self.content = _BoundedLines(self.content)  # type: ignore[assignment]  # stands for the reader
        return self

    @override
    async def json(self, **kwargs: Any) -> Any:
        if not self.ok:
            return await super().json(**kwargs)
        return await read_body(self.content.iter_chunked(PIECE_BYTES))


class _BoundedLines:
    """A reader whose pieces are whole lines, each the event of one object."""

    def __init__(self, reader: aiohttp.StreamReader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  the attribute of the reader
        return getattr(self._reader, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        """Yield the lines; kopf expects pieces of any length."""
        text = b""
        async for piece in self._reader.iter_chunked(PIECE_BYTES):
            *lines, text = (text + piece).split(b"\n")
            for line in filter(None, lines):
                yield await bounded_event(line) + b"\n"
