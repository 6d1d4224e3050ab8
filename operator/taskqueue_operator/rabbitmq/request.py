"""One request to the management API."""

from collections.abc import Mapping
from typing import NamedTuple

from taskqueue_operator.resource.bounds import HTTP_OTHER_BODY_BYTES


class Request(NamedTuple):
    """A request below `/api`.

    Attributes:
        method: The method of HTTP.
        path: The path, with the vhost as `{vhost}`, and the query.
        content: The body.
        longest: Longest answer.
        headers: Headers beside those of each request.
    """

    method: str
    path: str
    content: bytes | None = None
    longest: int = HTTP_OTHER_BODY_BYTES
    headers: Mapping[bytes | str, bytes | str] = {}

    @property
    def only_reads(self) -> bool:
        """Whether the request may be repeated, and needs no leadership."""
        return self.method in {"GET", "HEAD"}
