"""The version of a broker is read once, and an old one again when the user may have upgraded the broker."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from taskqueue_operator.rabbitmq.broker_version import OLD_VERSION_AGE, BrokerVersion
from taskqueue_operator.rabbitmq.management import Management


class _Overview:
    """Stands in for the management API and the clock."""

    def __init__(self, version: object) -> None:
        self.version = version
        self.reads = 0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    async def read_overview(self, _column: str) -> dict[str, object]:
        self.reads += 1
        return {"rabbitmq_version": self.version}


def reader(overview: _Overview) -> BrokerVersion:
    return BrokerVersion(cast("Management", overview), lambda: overview.now)


@pytest.mark.parametrize(
    ("text", "version"),
    [("4.3.6", (4, 3, 6)), ("3.13.7+deb", (3, 13, 7)), ("4.4", (4, 4, 0)), ("", (0, 0, 0)), (None, (0, 0, 0))],
)
async def test_a_version_has_three_parts(text: object, version: tuple[int, ...]) -> None:
    assert await reader(_Overview(text)).read() == version


async def test_an_upgrade_is_noticed_within_a_minute_and_a_version_that_lacks_nothing_is_read_once() -> None:
    overview = _Overview("4.3.0")
    version = reader(overview)
    assert [await version.read() for _ in range(3)] == [(4, 3, 0)] * 3
    overview.version = "4.3.6"
    overview.now += OLD_VERSION_AGE
    assert (await version.read(), version.has_etags, overview.reads) == ((4, 3, 6), True, 2)
    overview.now += timedelta(days=1)
    assert (await version.read(), overview.reads) == ((4, 3, 6), 2)
