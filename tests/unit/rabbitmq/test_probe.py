"""Probing a broker that is slow or silent in parts, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from taskqueue_operator.rabbitmq.negative_cache import BACKOFF
from taskqueue_operator.rabbitmq.probe import (
    FORGET_AFTER_SECONDS,
    MAX_SINGLE_QUEUE_CHANNELS,
    MAX_SLOW_CHANNELS,
    PIPELINE_DEPTH,
    PROMPT_SECONDS,
    Prober,
)
from taskqueue_operator.rabbitmq.probe_connection import ProbeConnection
from taskqueue_operator.rabbitmq.reconnect import Reconnector
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.scaling.reading import PROBE_MAX_AGE, Probe

from .fake_amqp import ENDPOINT, NEVER, PROMPT, READY, FakeAmqp, connected

pytestmark = [pytest.mark.looptime, pytest.mark.slow]

START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = 1.0


class FakeLine:
    """A connection that is always there."""

    def __init__(self, connection: ProbeConnection) -> None:
        self.current = connection
        self.heard: list[bool] = []

    async def connection(self) -> ProbeConnection:
        return self.current

    def record_success(self, asked: ProbeConnection) -> None:
        assert asked is self.current
        self.heard.append(True)

    def record_timeout(self, asked: ProbeConnection, since: float) -> None:
        assert (asked, since <= asyncio.get_running_loop().time()) == (self.current, True)
        self.heard.append(False)


class World:
    """A prober, asked each period as the observer does."""

    def __init__(self, broker: FakeAmqp, connection: ProbeConnection) -> None:
        self.broker = broker
        self.line = FakeLine(connection)
        self.prober = Prober(ENDPOINT, cast("Reconnector", self.line), now)
        self.last: dict[str, Probe] = {}

    async def rounds(self, queues: Collection[str], seconds: float, watched: Collection[str] = ()) -> timedelta:
        """Probe for a while; returns how old the last answer of a watched queue was at most."""
        end, oldest = now() + timedelta(seconds=seconds), timedelta()
        while now() < end:
            self.last |= await self.prober.probe(queues)
            oldest = max([oldest, *(now() - self.last[each].at for each in watched)])
            await asyncio.sleep(PERIOD)
        return oldest


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    broker = FakeAmqp()
    made = World(broker, await connected(broker, monkeypatch))
    yield made
    made.prober.close()
    await made.line.current.close()


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{n}" for n in range(count)]


def by_kind(**seconds: float) -> Callable[[str], float]:
    return lambda queue: seconds[queue.partition("-")[0]]


async def test_queues_that_are_known_share_a_channel_and_a_write(world: World) -> None:
    queues = names("jobs", PIPELINE_DEPTH)
    await world.prober.probe(queues)
    before = world.broker.channels
    asked = world.broker.asked.total()

    for _ in range(10):
        found = await world.prober.probe(queues)
        assert {each.ready for each in found.values()} == {READY}
        assert found.keys() == set(queues)

    assert world.broker.asked.total() == asked + 10 * len(queues)
    assert world.broker.channels == before <= MAX_SINGLE_QUEUE_CHANNELS


async def test_silent_queues_do_not_delay_the_others_by_a_period(world: World) -> None:
    silent, speaking = names("silent", 60), names("speaking", 140)
    world.broker.delay = by_kind(silent=NEVER, speaking=PROMPT)

    oldest = await world.rounds([*silent, *speaking], 20, speaking)

    assert oldest < timedelta(seconds=PERIOD)
    assert world.last.keys() == set(speaking), "no answer is no reading"
    assert all(world.broker.asked[each] == 1 for each in silent), "an unanswered question stands"
    assert world.broker.channels <= len(silent) + MAX_SINGLE_QUEUE_CHANNELS + 1


async def test_queues_that_fall_silent_are_found_out_at_once(world: World) -> None:
    """A third of the queues have their leader on a node that is frozen."""
    silent, speaking = names("silent", 330), names("speaking", 670)
    queues = sorted([*silent, *speaking], key=hash)
    await world.rounds(queues, 3)
    world.broker.delay = by_kind(silent=0.25, speaking=PROMPT)

    assert await world.rounds(queues, 5, speaking) < PROBE_MAX_AGE
    assert await world.rounds(queues, 30, speaking) < timedelta(seconds=PERIOD)
    assert world.broker.channels <= MAX_SINGLE_QUEUE_CHANNELS + MAX_SLOW_CHANNELS + len(queues) // PIPELINE_DEPTH + 64


async def test_more_silent_queues_than_channels_starve_neither_the_others_nor_each_other(world: World) -> None:
    silent, speaking = names("silent", 1000), names("speaking", 1000)
    queues = [queue for pair in zip(silent, speaking, strict=True) for queue in pair]
    world.broker.delay = by_kind(silent=NEVER, speaking=PROMPT)
    await world.rounds(queues, 20)

    assert await world.rounds(queues, 10, speaking) < timedelta(seconds=2 * PERIOD)
    assert min(world.broker.asked[queue] for queue in silent) == 1, "each is asked"
    assert world.broker.channels <= len(silent) + MAX_SINGLE_QUEUE_CHANNELS + 8
    world.broker.hang_up()


async def test_a_slow_queue_is_read_as_fresh_as_it_answers_and_delays_nobody(world: World) -> None:
    """A quorum queue whose leader is silent answers after 0.25 s."""
    slow, speaking = names("slow", 200), names("speaking", 100)
    world.broker.delay = by_kind(slow=0.25, speaking=PROMPT)
    await world.rounds([*slow, *speaking], 5)

    assert await world.rounds([*slow, *speaking], 20, speaking) < timedelta(seconds=PERIOD / 2)
    assert await world.rounds([*slow, *speaking], 20, slow) < PROBE_MAX_AGE / 2
    assert world.broker.channels <= MAX_SINGLE_QUEUE_CHANNELS + MAX_SLOW_CHANNELS + 2


async def test_a_queue_that_speaks_again_is_prompt_again(world: World) -> None:
    queues = names("silent", 20)
    world.broker.delay = by_kind(silent=20)
    await world.rounds(queues, 10)
    world.broker.delay = by_kind(silent=PROMPT)
    await world.rounds(queues, 25)

    channels = world.broker.channels
    assert await world.rounds(queues, 10, queues) < timedelta(seconds=PROMPT_SECONDS)
    assert world.broker.channels == channels


async def test_a_round_that_is_too_long_is_continued_where_it_ended(world: World) -> None:
    queues = names("distant", 2000)
    world.broker.delay = by_kind(distant=0.1)

    await world.rounds(queues, 13)

    assert world.last.keys() == set(queues)


async def test_an_answer_is_as_old_as_its_question(world: World) -> None:
    world.broker.delay = by_kind(slow=0.5)
    assert await world.prober.probe(["slow-0"]) == {}
    asked = now() - timedelta(seconds=PROMPT_SECONDS)
    assert await world.prober.probe(["slow-0"]) == {}
    await asyncio.sleep(PERIOD)

    assert (await world.prober.probe(["slow-0"]))["slow-0"] == Probe(asked, READY)
    assert world.line.heard == [False, False, True]


async def test_missing_queues_cost_the_others_nothing_and_the_broker_little(world: World) -> None:
    missing, there = names("missing", 20), names("there", 40)
    await world.rounds([*missing, *there], 5)
    world.broker.refusals |= dict.fromkeys(missing, (404, "NOT_FOUND - no queue"))
    begun = now()
    while now() - begun < timedelta(seconds=60):
        found = await world.prober.probe([*missing, *there])
        assert all(found[each].ready == READY for each in there)
        assert all(found[each].missing for each in missing)
        await asyncio.sleep(0.25)
    assert world.broker.refused <= len(missing) * (60 / BACKOFF.longest_seconds + 4), "1, 2, 4, 8 s, and then rarely"

    world.broker.refusals.clear()
    await asyncio.sleep(BACKOFF.longest_seconds)
    assert {each.ready for each in (await world.prober.probe(missing)).values()} == {READY}


async def test_a_missing_queue_is_asked_again_as_soon_as_it_is_known_to_be_there(world: World) -> None:
    world.broker.refusals |= {"missing-0": (404, "NOT_FOUND"), "mine-0": (403, "ACCESS_REFUSED")}
    await world.rounds(["missing-0", "mine-0"], 30)
    world.broker.refusals.clear()

    world.prober.on_queues_found({"missing-0", "mine-0", "other"})
    found = await world.prober.probe(["missing-0", "mine-0"])

    assert found["missing-0"].ready == READY
    assert found["mine-0"].fault is not None, "that it is there was known"


async def test_a_queue_that_came_and_went_is_asked_again_soon(world: World) -> None:
    for _ in range(3):
        world.broker.refusals["jobs"] = (404, "NOT_FOUND")
        await world.rounds(["jobs"], 5)
        world.broker.refusals.clear()
        await world.rounds(["jobs"], BACKOFF.longest_seconds)
        assert world.last["jobs"].ready == READY
    world.broker.refusals["jobs"] = (404, "NOT_FOUND")
    await world.prober.probe(["jobs"])
    world.broker.refusals.clear()
    await asyncio.sleep(BACKOFF.first_seconds + PROMPT_SECONDS)
    assert (await world.prober.probe(["jobs"]))["jobs"].ready == READY


async def test_a_refusal_that_stands_proves_nothing_about_the_connection(world: World) -> None:
    world.broker.refusals["missing-0"] = (404, "NOT_FOUND")
    await world.prober.probe(["missing-0"])
    world.broker.mute = True
    found = await world.prober.probe(["missing-0"])
    assert found["missing-0"].missing
    assert world.line.heard == [True], "nothing was asked, so there was no silence either"

    await asyncio.sleep(BACKOFF.first_seconds)
    assert await world.prober.probe(["missing-0"]) == {}
    assert world.line.heard == [True, False]


async def test_a_refusal_that_comes_late_is_an_answer(world: World) -> None:
    world.broker.refusals["late-0"] = (404, "NOT_FOUND")
    world.broker.delay = by_kind(late=PROMPT_SECONDS + 0.2)
    assert await world.prober.probe(["late-0"]) == {}
    await asyncio.sleep(0.5)
    assert (await world.prober.probe(["late-0"]))["late-0"].missing
    assert world.line.heard == [False, True]
    assert world.broker.asked["late-0"] == 1


async def test_what_nobody_asks_for_any_more_is_forgotten(world: World) -> None:
    def known() -> set[str]:
        session = world.prober._session
        assert session is not None
        return {*session._prompt, *session._slow, *session._answers, *session.refusals._refusals}

    world.broker.delay = by_kind(jobs=PROMPT, slow=0.5, missing=PROMPT, stays=PROMPT)
    world.broker.refusals["missing-0"] = (404, "NOT_FOUND")
    await world.rounds(["jobs-0", "slow-0", "missing-0", "stays-0"], 5)
    assert known() == {"jobs-0", "slow-0", "missing-0", "stays-0"}
    channels = world.broker.channels

    await world.rounds(["stays-0"], 3 * FORGET_AFTER_SECONDS)

    assert known() == {"stays-0"}
    assert world.broker.channels == channels, "and what is asked goes on as before"


@pytest.mark.parametrize(("code", "reason"), [(403, Reason.PERMISSION_DENIED), (405, Reason.TOPOLOGY_REFUSED)])
async def test_a_queue_that_may_not_be_read_says_why(world: World, code: int, reason: Reason) -> None:
    world.broker.refusals["mine-1"] = (code, "because of x")

    found = await world.prober.probe(["mine-0", "mine-1"])

    assert found["mine-0"].ready == READY
    assert (found["mine-1"].ready, found["mine-1"].missing) == (None, False)
    fault = found["mine-1"].fault
    assert fault is not None
    assert fault.reason is reason
    assert 'read the depth of queue "mine-1"' in fault.message


async def test_a_new_connection_begins_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.broker.delay = by_kind(queue=NEVER)
    await world.rounds(["queue-0"], 3)
    await world.line.current.close()
    world.broker.delay = by_kind(queue=PROMPT)
    world.line.current = await connected(world.broker, monkeypatch)

    assert (await world.prober.probe(["queue-0"]))["queue-0"].ready == READY


async def test_a_broker_that_restarts_with_many_queues_is_not_stormed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it must answer in the seconds after it is back is what it answers at any time."""
    broker, queues = FakeAmqp(), names("jobs", 1000)
    monkeypatch.setattr(asyncio, "open_connection", broker.dial)
    line = Reconnector(ENDPOINT, name="probe")
    prober = Prober(ENDPOINT, line, now)
    async with every_quarter(prober, queues):
        await asyncio.sleep(5)
        broker.down = True
        broker.hang_up()
        await asyncio.sleep(60)
        broker.down = False
        broker.asked.clear()
        broker.dials.clear()
        await asyncio.sleep(5)

    assert set(broker.asked) == set(queues), "each is read again"
    assert len(broker.dials) == 1
    assert max(broker.asked.values()) <= 4 * 5
    assert broker.peers[-1].channels.keys() <= set(range(1, MAX_SINGLE_QUEUE_CHANNELS + 5))
    prober.close()
    await line.close()


@asynccontextmanager
async def every_quarter(prober: Prober, queues: Collection[str]) -> AsyncIterator[None]:
    async def probe() -> None:
        while True:
            with contextlib.suppress(BrokerFault):
                await prober.probe(queues)
            await asyncio.sleep(0.25)

    task = asyncio.create_task(probe())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
