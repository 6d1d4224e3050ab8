"""One request to the management API."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from taskqueue_operator.resource.bounds import HTTP_OTHER_BODY_BYTES

REQUEST_TIMEOUT_SECONDS: Final = 20.0
"""Listing 10,000 queues takes about a second; a broker that loses its leader may need several seconds."""


class Request(NamedTuple):
    """A request below `/api`.

    Attributes:
        method: The method of HTTP.
        path: The path, with the vhost as `{vhost}`, and the query.
        content: The body.
        longest: Longest answer.
        headers: Headers beside those of each request.
        seconds: How long the answer may take.
    """

    method: str
    path: str
    content: bytes | None = None
    longest: int = HTTP_OTHER_BODY_BYTES
    headers: Mapping[bytes | str, bytes | str] = {}
    seconds: float = REQUEST_TIMEOUT_SECONDS

    @property
    def only_reads(self) -> bool:
        """Whether the request may be repeated, and needs no leadership."""
        return self.method in {"GET", "HEAD"}
