"""A listing that has not changed is not parsed again, within a bound of memory."""

from taskqueue_operator.rabbitmq import known_listings
from taskqueue_operator.rabbitmq.known_listings import KnownListings
from tests.unit.iterations import counted_iterations

ONE = bytearray(b'[{"name":"one"}]')
TWO = bytearray(b'[{"name":"two"}]')


class _Parser:
    """Counts what it parses."""

    def __init__(self) -> None:
        self.parsed = 0

    async def __call__(self) -> int:
        self.parsed += 1
        return self.parsed


async def test_a_listing_is_parsed_again_only_if_its_text_has_changed() -> None:
    known, parse = KnownListings(), _Parser()
    first, second = await known.find("queues", ONE, parse), await known.find("queues", TWO, parse)
    assert await known.find("queues", ONE, parse) == first
    assert await known.find("queues", TWO, parse) == second
    assert first != second
    assert parse.parsed == 2


async def test_equal_listings_of_two_kinds_are_parsed_in_two_ways() -> None:
    known, parse = KnownListings(), _Parser()
    empty = bytearray(b"[]")
    assert await known.find("queues", empty, parse) != await known.find("exchanges", empty, parse)


async def test_the_listing_that_was_not_used_for_the_longest_is_dropped() -> None:
    known, parse = KnownListings(values=2), _Parser()
    for text in (ONE, TWO, ONE, bytearray(b'[{"name":"three"}]')):
        await known.find("queues", text, parse)
    assert parse.parsed == 3
    await known.find("queues", ONE, parse)
    assert parse.parsed == 3
    await known.find("queues", TWO, parse)
    assert parse.parsed == 4


async def test_a_listing_beyond_the_bound_is_not_kept_and_displaces_no_other() -> None:
    known, parse = KnownListings(values=2), _Parser()
    large = bytearray(b'[{"name":"one"},{"name":"two"}]')
    for text in (ONE, large, large, ONE):
        await known.find("queues", text, parse)
    assert parse.parsed == 3


async def test_other_tasks_run_while_a_long_listing_is_hashed() -> None:
    long = bytearray(4 * known_listings._HASHED_IN_ONE_PIECE)
    with counted_iterations() as iterations:
        await KnownListings().find("queues", long, _Parser())
    assert iterations.present >= 3
