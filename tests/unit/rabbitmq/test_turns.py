"""Turns of a limited rate, in virtual time."""

import asyncio
from collections import Counter

import pytest

from taskqueue_operator.rabbitmq.turns import Turns

pytestmark = pytest.mark.looptime

PER_SECOND = 10


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_turns_never_exceed_the_rate() -> None:
    turns, began = Turns(PER_SECOND), now()
    for number in range(30):
        await turns.wait("media")
        assert now() - began == pytest.approx(number / PER_SECOND)


async def test_after_a_pause_so_many_turns_are_free() -> None:
    turns = Turns(PER_SECOND, at_once=5)
    await asyncio.sleep(100)
    began = now()
    for _ in range(6):
        await turns.wait("media")
    assert now() - began < 1.5 / PER_SECOND
    for _ in range(10):
        await turns.wait("media")
    assert now() - began >= 10 / PER_SECOND


async def test_namespaces_take_turns() -> None:
    turns, served = Turns(PER_SECOND), Counter[str]()

    async def take(namespace: str) -> None:
        await turns.wait(namespace)
        served[namespace] += 1

    flood = [asyncio.create_task(take("many")) for _ in range(500)]
    await asyncio.sleep(0)
    few = [asyncio.create_task(take(namespace)) for namespace in ("few", "one") for _ in range(2)]
    await asyncio.sleep(0.75)
    assert served == {"many": 4, "few": 2, "one": 2}
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, *few, return_exceptions=True)
    began = now()
    await turns.wait("other")
    assert now() - began <= 1 / PER_SECOND, "who has given up takes no turn"
