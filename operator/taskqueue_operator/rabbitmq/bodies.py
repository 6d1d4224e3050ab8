"""The bodies of HTTP answers while they are received: bounded one by one, and all together."""

from collections.abc import AsyncIterable

from taskqueue_operator.resource import bounds

from .clock import loop_time


class TooLargeError(Exception):
    """An answer is longer than it may be, or has too many values."""


class Bodies:
    """Receives bodies. When all together are too long, the one that has taken the most for the longest gives way.

    So neither one long body nor many that never end keep the others from being received.
    """

    def __init__(self, *, longest: int = bounds.HTTP_BODY_BYTES, together: int = bounds.HTTP_BODIES_BYTES) -> None:
        self._longest = longest
        self._together = together
        self._bodies: set[_Body] = set()
        self._received = 0

    async def receive(self, chunks: AsyncIterable[bytes], longest: int | None = None) -> bytearray:
        """Return a whole body of at most `longest` bytes. The caller sets the timeout.

        Raises:
            TooLargeError: It is too long or has too many values, or gives way while all together are too long.
        """
        body = _Body()
        longest = self._longest if longest is None else longest
        self._bodies.add(body)
        try:
            async for chunk in chunks:
                body.add(chunk)
                self._received += len(chunk)
                if body.has_too_many_values or len(body.data) > longest:
                    self._refuse(body)
                if self._received > self._together:
                    self._refuse(max(self._bodies, key=_Body.burden))
                if body.refused:
                    raise TooLargeError
            if body.refused:  # after its last chunk
                raise TooLargeError
            return body.data
        finally:
            self._received -= len(body.data)
            self._bodies.remove(body)
            body.data = bytearray()  # an exception that is kept keeps this frame

    def _refuse(self, body: "_Body") -> None:
        self._received -= len(body.data)
        body.data = bytearray()
        body.refused = True


class _Body:
    """One body; a refused one no longer takes memory."""

    __slots__ = ("_commas", "_containers", "began", "data", "refused")

    def __init__(self) -> None:
        self.began = loop_time()
        self.data = bytearray()
        self.refused = False
        self._containers = 0
        self._commas = 0

    def add(self, chunk: bytes) -> None:
        """Add the next chunk."""
        self.data += chunk
        self._containers += chunk.count(b"{") + chunk.count(b"[")
        self._commas += chunk.count(b",")

    @property
    def has_too_many_values(self) -> bool:
        """Whether it is JSON that takes much more memory than its text."""
        return self._containers > bounds.JSON_CONTAINERS or self._commas > bounds.JSON_VALUES

    def burden(self) -> tuple[float, int]:
        """Order bodies by the memory that they have taken, and for how long."""
        length = len(self.data)
        return length * (loop_time() - self.began), length
