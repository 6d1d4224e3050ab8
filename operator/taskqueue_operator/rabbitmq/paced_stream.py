"""Reads the answers of management APIs in pieces that are parsed within milliseconds.

The HTTP library parses all that it has read without a pause, and 64 KiB may be 10,000 chunks of a body, or 3,000
informational answers, none of which counts as body: more than a second in which the process does nothing else.
"""

import ssl
from typing import Any, Final

import httpcore
from typing_extensions import override

from taskqueue_operator.resource import bounds

from .pace import Pace

_LINE: Final = b"\n"


class PacedStream(httpcore.AsyncNetworkStream):
    """A connection of the HTTP library whose answers arrive in pieces of few lines."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, pace: Pace) -> None:
        self._stream = stream
        self._pace = pace
        self._read = b""

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        reads = 0
        if not self._read:
            self._read = await self._stream.read(max_bytes, timeout)
            reads = 1
        end = _end_of_lines(self._read)
        piece, self._read = self._read[:end], self._read[end:]
        await self._pace.wait(units=reads + piece.count(_LINE) / bounds.WORK_LINES, read=len(piece))
        return piece

    @override
    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    @override
    async def aclose(self) -> None:
        await self._stream.aclose()

    @override
    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Return this connection: where TLS is used, it has it from the beginning."""
        return self

    @override
    def get_extra_info(self, info: str) -> Any:
        # The library closes an idle connection that has something to read: no request has asked for it.
        if info == "is_readable" and self._read:
            return True
        return self._stream.get_extra_info(info)


def _end_of_lines(data: bytes) -> int:
    """Return the end of as many lines as may be parsed in one stretch."""
    end = 0
    for _ in range(bounds.LINES_PER_PIECE):
        end = data.find(_LINE, end) + 1
        if not end:
            return len(data)
    return end
