"""The ETag of definitions is asked for where it saves requests, and not where metadata is written all the time."""

from typing import cast

from taskqueue_operator.rabbitmq.definitions_tag import LONGEST_PAUSE, DefinitionsTag
from taskqueue_operator.rabbitmq.management import Management
from taskqueue_operator.resource import bounds


class _Broker:
    """Stands in for the management API: the ETag is the number of writes."""

    def __init__(self, *tags: str, gives_etags: bool = True) -> None:
        self.tags = tags
        self.gives_etags = gives_etags
        self.writes = 0
        self.asked = 0

    async def read_tags(self) -> tuple[str, ...]:
        return self.tags

    async def read_etag(self, _path: str, _known: str) -> str:
        self.asked += 1
        return f'"{self.writes}"' if self.gives_etags else ""


def tag_of(broker: object) -> DefinitionsTag:
    return DefinitionsTag(cast("Management", broker))


async def test_only_what_was_read_before_can_be_unchanged() -> None:
    broker = _Broker("administrator")
    tag = tag_of(broker)
    assert [await tag.is_unchanged() for _ in range(3)] == [False, True, True]
    broker.writes += 1
    assert [await tag.is_unchanged() for _ in range(3)] == [False, True, True]


async def test_a_user_who_is_no_administrator_never_asks() -> None:
    broker = _Broker("policymaker")
    tag = tag_of(broker)
    assert [await tag.is_unchanged() for _ in range(3)] == [False] * 3
    assert broker.asked == 0


async def test_a_broker_without_etags_is_asked_once() -> None:
    broker = _Broker("administrator", gives_etags=False)
    tag = tag_of(broker)
    assert [await tag.is_unchanged() for _ in range(3)] == [False] * 3
    assert broker.asked == 1


async def test_a_longer_etag_than_any_of_rabbitmq_is_not_sent_again() -> None:
    broker = _Broker("administrator")
    broker.writes = 10 ** (bounds.ETAG_CHARACTERS + 1)
    tag = tag_of(broker)
    assert [await tag.is_unchanged() for _ in range(3)] == [False] * 3
    assert broker.asked == 1


async def test_a_broker_whose_metadata_is_written_all_the_time_is_asked_less_and_less_often() -> None:
    broker = _Broker("administrator")
    tag = tag_of(broker)
    for _ in range(300):
        broker.writes += 1
        assert not await tag.is_unchanged()
    assert broker.asked < 100
    before = broker.asked
    for _ in range(LONGEST_PAUSE + 2):
        await tag.is_unchanged()
    assert await tag.is_unchanged(), "it is asked for again when the writes have ended"
    assert broker.asked > before
