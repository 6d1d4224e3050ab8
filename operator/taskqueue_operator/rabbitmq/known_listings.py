"""What listings contain, by the digest of their text: a listing that has not changed is not parsed again.

All readers of the process share it. So several readers of one vhost parse its listings once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

from taskqueue_operator.resource import bounds

DIGEST_BYTES: Final = 32
_HASHED_IN_ONE_PIECE: Final = 1 << 20
"""Bytes that are hashed before other tasks run: 1 ms."""


class KnownListings:
    """Keeps what was parsed last, within a bound of values; what was not used for the longest is dropped first."""

    def __init__(self, values: int = bounds.KNOWN_LISTING_VALUES) -> None:
        self._most = values
        self._values = 0
        self._known: OrderedDict[bytes, tuple[int, Any]] = OrderedDict()

    async def find(self, kind: str, text: bytearray, parse: Callable[[], Awaitable[Any]]) -> tuple[bytes, Any]:
        """Return the digest of a listing, and what it contains.

        Args:
            kind: What the listing lists: equal texts of two kinds are parsed in two ways.
            text: The listing.
            parse: Parses it. What it returns is shared, so no caller may change it.
        """
        digest = await _digest(kind, text)
        known = self._known.get(digest)
        if known is None:
            known = text.count(b",") + text.count(b"{"), await parse()
            self._add(digest, known)
        else:
            self._known.move_to_end(digest)
        return digest, known[1]

    def recall(self, digests: Sequence[bytes]) -> list[Any]:
        """Return what some listings contain; nothing if that of one of them was dropped."""
        if any(digest not in self._known for digest in digests):
            return []
        for digest in digests:
            self._known.move_to_end(digest)
        return [self._known[digest][1] for digest in digests]

    def _add(self, digest: bytes, known: tuple[int, Any]) -> None:
        if digest in self._known or known[0] > self._most:  # another reader was faster, or it is too large to keep
            return
        self._known[digest] = known
        self._values += known[0]
        while self._values > self._most:
            _, (values, _) = self._known.popitem(last=False)
            self._values -= values


async def _digest(kind: str, text: bytearray) -> bytes:
    digest = blake2b(kind.encode(), digest_size=DIGEST_BYTES)
    for begin in range(0, len(text), _HASHED_IN_ONE_PIECE):
        if begin:
            await asyncio.sleep(0)
        digest.update(memoryview(text)[begin : begin + _HASHED_IN_ONE_PIECE])
    return digest.digest()
