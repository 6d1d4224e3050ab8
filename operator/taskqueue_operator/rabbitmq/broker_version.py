"""The version of a broker."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from taskqueue_operator.topology.versions import DELAYED_RETRIES_VERSION, Version

from .management import Management

ETAG_VERSION: Final[Version] = (4, 3, 5)
"""Since this version, definitions have an ETag."""
OLD_VERSION_AGE: Final = timedelta(minutes=1)
"""How long a version counts that lacks something: the user may upgrade the broker."""
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


class BrokerVersion:
    """The version as it was read last. One that lacks nothing is read once: a newer one has all that it has."""

    def __init__(self, management: Management, clock: Callable[[], datetime]) -> None:
        self._management = management
        self._clock = clock
        self._version: Version = ()
        self._read_at: datetime | None = None

    @property
    def has_etags(self) -> bool:
        """Whether the definitions of the broker are known to have an ETag."""
        return self._version >= ETAG_VERSION

    async def read(self) -> Version:
        """Return major, minor and patch; zeros if they are unknown. One request at most.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        now = self._clock()
        is_old = self._version < DELAYED_RETRIES_VERSION
        if is_old and (self._read_at is None or now - self._read_at >= OLD_VERSION_AGE):
            overview = await self._management.read_overview("rabbitmq_version")
            self._version, self._read_at = _parse(overview.get("rabbitmq_version")), now
        return self._version


def _parse(text: object) -> Version:
    version = _VERSION.match(str(text))
    return tuple(int(part or 0) for part in version.groups()) if version is not None else (0, 0, 0)
