"""Probing a broker that is slow or silent in parts, in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.line import Line
from taskqueue_operator.rabbitmq.probe import CHANNELS, SLOW_CHANNELS, Prober
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import FRESH, Probe

pytestmark = pytest.mark.looptime

START = datetime(2026, 1, 1, tzinfo=UTC)
NEVER = float("inf")
PERIOD = 1.0
ENDPOINT = Endpoint.parse(Key("media", "rabbitmq"), {"uri": b"amqp://app:secret@broker"}, None)


class FakeConnection:
    """Answers a declare after as many seconds as `delay` says of the queue, and counts channels as a broker does."""

    def __init__(self, delay: Callable[[str], float]) -> None:
        self.delay = delay
        self.in_flight = 0
        self.busiest = 0
        self.given_up: Counter[str] = Counter()

    async def channel(self, **_: object) -> "FakeChannel":
        return FakeChannel(self)


class FakeChannel:
    """One question at a time; closed, as in aiormq, by a question that is given up."""

    def __init__(self, connection: FakeConnection) -> None:
        self.connection = connection
        self.is_closed = False

    async def queue_declare(self, queue: str, *, passive: bool) -> object:
        assert passive
        assert not self.is_closed
        self.connection.in_flight += 1
        self.connection.busiest = max(self.connection.busiest, self.connection.in_flight)
        seconds = self.connection.delay(queue)
        try:
            await (asyncio.Event().wait() if seconds == NEVER else asyncio.sleep(seconds))
        except asyncio.CancelledError:
            self.is_closed = True
            self.connection.given_up[queue] += 1
            raise
        finally:
            self.connection.in_flight -= 1
        return SimpleNamespace(message_count=7)


class FakeLine:
    """A connection that is always there."""

    def __init__(self, connection: FakeConnection) -> None:
        self.current = connection
        self.heard: list[bool] = []

    async def connection(self) -> FakeConnection:
        return self.current

    def proven(self) -> None:
        self.heard.append(True)

    async def suspect(self) -> None:
        self.heard.append(False)


class World:
    """A prober, asked each period as the observer does."""

    def __init__(self, delay: Callable[[str], float]) -> None:
        self.connection = FakeConnection(delay)
        self.line = FakeLine(self.connection)
        self.prober = Prober(ENDPOINT, cast("Line", self.line), now)
        self.last: dict[str, Probe] = {}

    async def rounds(self, queues: Collection[str], seconds: float, watched: Collection[str] = ()) -> timedelta:
        """Probe for a while; returns how old the last answer of a watched queue was at most."""
        end, oldest = now() + timedelta(seconds=seconds), timedelta()
        while now() < end:
            self.last |= await self.prober.probe(queues)
            oldest = max([oldest, *(now() - self.last[each].at for each in watched)])
            await asyncio.sleep(PERIOD)
        return oldest


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{n}" for n in range(count)]


def by_kind(**seconds: float) -> Callable[[str], float]:
    return lambda queue: seconds[queue.partition("-")[0]]


async def test_silent_queues_do_not_delay_the_others_by_a_period() -> None:
    silent, speaking = names("silent", 60), names("speaking", 140)
    world = World(by_kind(silent=NEVER, speaking=0.001))

    oldest = await world.rounds([*silent, *speaking], 60, speaking)

    assert oldest < timedelta(seconds=PERIOD)
    assert world.last.keys() == set(speaking), "no answer is no reading"
    assert world.connection.busiest <= CHANNELS + SLOW_CHANNELS
    assert max(world.connection.given_up.values()) < 10, "a question given up may cost the broker a channel"
    world.prober.close()


async def test_more_silent_queues_than_channels_starve_neither_the_others_nor_each_other() -> None:
    silent, speaking = names("silent", 1000), names("speaking", 1000)
    queues = [queue for pair in zip(silent, speaking, strict=True) for queue in pair]
    world = World(by_kind(silent=NEVER, speaking=0.001))
    await world.rounds(queues, 20)

    assert await world.rounds(queues, 200, speaking) < timedelta(seconds=2 * PERIOD)
    assert min(world.connection.given_up[queue] for queue in silent) > 1, "each is asked again"
    assert world.connection.busiest <= CHANNELS + SLOW_CHANNELS
    world.connection.delay = by_kind(silent=0.001, speaking=0.001)
    await world.rounds(queues, 15)
    assert await world.rounds(queues, 60, queues) < timedelta(seconds=PERIOD)


async def test_a_slow_queue_is_read_as_fresh_as_it_answers_and_delays_nobody() -> None:
    """A quorum queue whose leader is silent answers after 0.25 s."""
    slow, speaking = names("slow", 200), names("speaking", 100)
    world = World(by_kind(slow=0.25, speaking=0.001))
    await world.rounds([*slow, *speaking], 5)

    assert await world.rounds([*slow, *speaking], 60, speaking) < timedelta(seconds=PERIOD / 2)
    assert await world.rounds([*slow, *speaking], 60, slow) < FRESH / 2


async def test_a_round_that_is_too_long_is_continued_where_it_ended() -> None:
    queues = names("distant", 2000)
    world = World(by_kind(distant=0.1))

    await world.rounds(queues, 13)

    assert world.last.keys() == set(queues)


async def test_an_answer_is_as_old_as_its_question() -> None:
    world = World(by_kind(slow=0.5))
    assert await world.prober.probe(["slow-0"]) == {}
    asked = now()
    assert await world.prober.probe(["slow-0"]) == {}
    await asyncio.sleep(PERIOD)

    assert (await world.prober.probe(["slow-0"]))["slow-0"] == Probe(asked, 7)
    assert world.line.heard == [False, False, True]
    world.prober.close()


async def test_a_new_connection_begins_anew() -> None:
    world = World(by_kind(queue=NEVER))
    await world.rounds(["queue-0"], 3)
    world.line.current = FakeConnection(by_kind(queue=0.001))

    assert (await world.prober.probe(["queue-0"]))["queue-0"].ready == 7
    await asyncio.sleep(0)
    assert world.connection.in_flight == 0, "nothing waits on the old one"
