"""Bodies of answers are bounded one by one and together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from taskqueue_operator.rabbitmq.bodies import Bodies, TooLargeError

pytestmark = pytest.mark.looptime


async def chunks(size: int, count: int, pause: float = 0.1) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size
        await asyncio.sleep(pause)


async def test_a_body_that_is_too_long_is_refused_while_it_is_received() -> None:
    bodies, received = Bodies(longest=10, together=100), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal received
        while True:
            received += 1
            yield b"x"

    assert await bodies.receive(chunks(5, 2)) == b"x" * 10
    with pytest.raises(TooLargeError):
        await bodies.receive(endless())
    assert received == 11


async def test_of_many_bodies_the_longest_gives_way() -> None:
    bodies = Bodies(longest=60, together=100)
    outcomes = await asyncio.gather(
        bodies.receive(chunks(1, 20)),
        *(bodies.receive(chunks(6, 10)) for _ in range(3)),
        bodies.receive(chunks(2, 10)),
        return_exceptions=True,
    )
    assert [outcomes[0], outcomes[-1]] == [bytearray(b"x" * 20)] * 2
    assert sum(isinstance(outcome, TooLargeError) for outcome in outcomes) >= 1
    assert sum(isinstance(outcome, bytearray) for outcome in outcomes) >= 3
    assert await bodies.receive(chunks(6, 10)) == b"x" * 60, "nothing is left of them"


async def test_bodies_that_never_end_do_not_displace_a_longer_one_that_arrives() -> None:
    bodies = Bodies(longest=60, together=100)

    async def receive_again_and_again() -> None:
        while True:
            with suppress(TooLargeError):
                await bodies.receive(slow())
            await asyncio.sleep(4)  # until the next question

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 9
        while True:
            await asyncio.sleep(0.05)
            yield b""

    floods = [asyncio.create_task(receive_again_and_again()) for _ in range(10)]
    for _ in range(10):
        await asyncio.sleep(5)
        assert await bodies.receive(chunks(6, 5, pause=0.01)) == b"x" * 30
    for flood in floods:
        flood.cancel()


async def test_a_body_that_gives_way_after_its_last_chunk_is_refused_too() -> None:
    bodies = Bodies(longest=60, together=100)

    async def late(size: int) -> AsyncIterator[bytes]:
        yield b"x" * size
        await asyncio.sleep(1)

    outcomes = await asyncio.gather(*(bodies.receive(late(60)) for _ in range(2)), return_exceptions=True)
    assert sorted(map(type, outcomes), key=str) == [bytearray, TooLargeError]
