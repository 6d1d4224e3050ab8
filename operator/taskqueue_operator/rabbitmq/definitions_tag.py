"""Whether any definition of a broker has changed, by the ETag of its definitions: one request without a body.

RabbitMQ answers 304 for definitions only (since 4.3.5), and to administrators only. The ETag changes with each write to
the metadata of the broker, also by other clients and in other vhosts. So where metadata is written all the time, it is
asked for less and less often. Listings have no ETag, and answer 304 to each `If-None-Match: *`.
"""

from typing import Final

from taskqueue_operator.resource import bounds

from .management import Management

ADMINISTRATOR: Final = "administrator"
LONGEST_PAUSE: Final = 8
"""Reads for which no ETag is asked, after so many in a row that had changed."""


class DefinitionsTag:
    """The ETag as it was before the last read. A reader that the broker gives none asks only once."""

    def __init__(self, management: Management) -> None:
        self._management = management
        self._is_useful: bool | None = None
        self._etag = ""
        self._changes = 0
        self._pause = 0

    async def is_unchanged(self) -> bool:
        """Whether no definition has changed since the last call; call it before each read.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        if self._is_useful is None:
            self._is_useful = ADMINISTRATOR in await self._management.read_tags()
        if not self._is_useful:
            return False
        if self._pause:
            self._pause -= 1
            return False
        before, self._etag = self._etag, await self._management.read_etag("definitions/{vhost}", self._etag)
        self._is_useful = 0 < len(self._etag) <= bounds.ETAG_CHARACTERS
        return self._count(before)

    def _count(self, before: str) -> bool:
        if before and self._etag == before:
            self._changes = 0
            return True
        if before and self._is_useful:
            self._changes = min(LONGEST_PAUSE, self._changes + 1)
            self._pause = self._changes - 1
            if self._pause:
                self._etag = ""  # obsolete after the next read
        return False
