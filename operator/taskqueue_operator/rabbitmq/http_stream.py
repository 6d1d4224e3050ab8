"""A connection of the HTTP library that uses the streams of asyncio, with TLS from the beginning.

The library's own connections do TLS in Python, and take several iterations of the event loop for each read and write:
with 250 management APIs, a third of what the process does.
"""

import asyncio
import ssl
from typing import Any, Final

import httpcore
from typing_extensions import override

LIMIT_BYTES: Final = 1 << 16
"""Received bytes that wait to be read; twice as many stop the peer."""


class HttpStream(httpcore.AsyncNetworkStream):
    """An open connection."""

    def __init__(self, reader: "_Reader", writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: str, port: int, tls: ssl.SSLContext | None, name: str) -> "HttpStream":
        """Connect; with TLS, the certificate has to be valid for `name`. The caller sets the timeout.

        Raises:
            OSError: The address does not accept, or TLS fails.
        """
        loop = asyncio.get_running_loop()
        reader = _Reader(LIMIT_BYTES, loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(
            lambda: protocol, address, port, ssl=tls, server_hostname=name if tls is not None else None
        )
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        try:
            self._writer.write(buffer)
            async with asyncio.timeout(timeout):
                await self._writer.drain()
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError until the loss has been read
            raise httpcore.WriteError from error

    @override
    async def aclose(self) -> None:
        # At once: a peer that does not confirm would keep the connection open.
        self._writer.transport.abort()

    @override
    def get_extra_info(self, info: str) -> Any:
        # The library closes an idle connection that has something to read: the peer has closed it, or no request has
        # asked for it.
        return self._reader.has_something if info == "is_readable" else self._writer.get_extra_info(info)


class _Reader(asyncio.StreamReader):
    """Counts what it has received."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit, loop)
        self._unread = 0

    @property
    def has_something(self) -> bool:
        """Whether a read would end at once."""
        return self._unread > 0 or self.at_eof() or self.exception() is not None

    @override
    def feed_data(self, data: Any) -> None:
        self._unread += len(data)
        super().feed_data(data)

    @override
    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self._unread -= len(data)
        return data
