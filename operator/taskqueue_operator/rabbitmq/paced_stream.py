"""Reads the answers of management APIs in pieces that are parsed within milliseconds, and no faster than they may be.

The HTTP library parses all that it has read without a pause, and 64 KiB may be 10,000 chunks of a body, or 3,000
informational answers, none of which counts as body: more than a second in which the process does nothing else.
"""

import asyncio
import ssl
from typing import Any, Final

import httpcore
from typing_extensions import override

from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.allowance import Allowance

from .clock import loop_time

_LINE: Final = b"\n"


class AnswerBudget:
    """What is parsed of all answers that exceed the allowance of their endpoint: one piece after the other."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def turn(self, work: float) -> None:
        """Wait until another piece may be parsed."""
        async with self._turn:
            await asyncio.sleep(work / bounds.HTTP_WORK_PER_SECOND)


class AnswerPace:
    """How fast the answers of one endpoint are parsed, on all its connections together."""

    def __init__(self, budget: AnswerBudget) -> None:
        self._budget = budget
        self._allowance = Allowance(
            per_second=bounds.ENDPOINT_HTTP_WORK_PER_SECOND, at_once=bounds.ENDPOINT_HTTP_WORK_AT_ONCE
        )

    async def wait(self, piece: bytes) -> None:
        """Wait until a piece may be parsed. Others run meanwhile, however short the wait is."""
        work = piece.count(_LINE) + len(piece) / bounds.HTTP_LINE_BYTES
        if self._allowance.take(loop_time(), work):
            await asyncio.sleep(0)
        else:
            await self._budget.turn(work)


class PacedStream(httpcore.AsyncNetworkStream):
    """A connection of the HTTP library whose answers arrive in pieces of few lines."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, pace: AnswerPace) -> None:
        self._stream = stream
        self._pace = pace
        self._read = b""

    @override
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if not self._read:
            self._read = await self._stream.read(max_bytes, timeout)
        end = _end_of_lines(self._read)
        piece, self._read = self._read[:end], self._read[end:]
        await self._pace.wait(piece)
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
        return PacedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout), self._pace)

    @override
    def get_extra_info(self, info: str) -> Any:
        # The library closes an idle connection that has something to read: no request has asked for it.
        if info == "is_readable" and self._read:
            return True
        return self._stream.get_extra_info(info)


def _end_of_lines(data: bytes) -> int:
    """Return the end of as many lines as one piece may have."""
    end = 0
    for _ in range(bounds.HTTP_LINES_PER_PIECE):
        end = data.find(_LINE, end) + 1
        if not end:
            return len(data)
    return end
