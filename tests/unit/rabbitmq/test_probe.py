"""Probing a broker of which some queues are slow or silent, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from taskqueue_operator.rabbitmq.probe import (
    FORGET_AFTER_SECONDS,
    MAX_SINGLE_QUEUE_CHANNELS,
    MAX_SLOW_CHANNELS,
    PIPELINE_DEPTH,
    PROMPT_SECONDS,
    Prober,
)
from taskqueue_operator.rabbitmq.reconnect import Reconnector
from taskqueue_operator.resource.faults import BrokerFault
from taskqueue_operator.scaling.reading import PROBE_MAX_AGE, Probe

from .fake_amqp import ENDPOINT, NEVER, PROMPT, READY, FakeAmqp, access, connected
from .probe_loop import PERIOD, ProbeLoop, by_kind, names, now

pytestmark = [pytest.mark.looptime, pytest.mark.slow]


async def test_prompt_queues_share_a_channel(loop: ProbeLoop) -> None:
    queues = names("jobs", PIPELINE_DEPTH)
    await loop.prober.probe(queues)
    before = loop.broker.channels
    asked = loop.broker.probed.total()

    for _ in range(10):
        found = await loop.prober.probe(queues)
        assert {probe.ready for probe in found.values()} == {READY}
        assert found.keys() == set(queues)

    assert loop.broker.probed.total() == asked + 10 * len(queues)
    assert loop.broker.channels == before <= MAX_SINGLE_QUEUE_CHANNELS


async def test_silent_queues_delay_the_others_by_less_than_a_period(loop: ProbeLoop) -> None:
    silent, speaking = names("silent", 60), names("speaking", 140)
    loop.broker.delay = by_kind(silent=NEVER, speaking=PROMPT)

    oldest = await loop.rounds([*silent, *speaking], 20, speaking)

    assert oldest < timedelta(seconds=PERIOD)
    assert loop.last.keys() == set(speaking), "a queue without an answer has no reading"
    assert all(loop.broker.probed[queue] == 1 for queue in silent), (
        "a queue is not probed again while a probe is in flight"
    )
    assert loop.broker.channels <= len(silent) + MAX_SINGLE_QUEUE_CHANNELS + 1


async def test_queues_that_become_slow_are_detected_at_once(loop: ProbeLoop) -> None:
    """A third of the queues have their leader on a paused node."""
    silent, speaking = names("silent", 330), names("speaking", 670)
    queues = sorted([*silent, *speaking], key=hash)
    await loop.rounds(queues, 3)
    loop.broker.delay = by_kind(silent=0.25, speaking=PROMPT)

    assert await loop.rounds(queues, 5, speaking) < PROBE_MAX_AGE
    assert await loop.rounds(queues, 30, speaking) < timedelta(seconds=PERIOD)
    assert loop.broker.channels <= MAX_SINGLE_QUEUE_CHANNELS + MAX_SLOW_CHANNELS + len(queues) // PIPELINE_DEPTH + 64


async def test_more_silent_queues_than_channels_starve_neither_the_others_nor_each_other(loop: ProbeLoop) -> None:
    silent, speaking = names("silent", 1000), names("speaking", 1000)
    queues = [queue for pair in zip(silent, speaking, strict=True) for queue in pair]
    loop.broker.delay = by_kind(silent=NEVER, speaking=PROMPT)
    await loop.rounds(queues, 20)

    assert await loop.rounds(queues, 10, speaking) < timedelta(seconds=2 * PERIOD)
    assert min(loop.broker.probed[queue] for queue in silent) == 1, "every silent queue is probed"
    assert loop.broker.channels <= len(silent) + MAX_SINGLE_QUEUE_CHANNELS + 8
    loop.broker.close_all()


async def test_a_slow_queue_is_read_as_often_as_it_answers_and_delays_no_other(loop: ProbeLoop) -> None:
    """A quorum queue without a leader answers after 0.25 s."""
    slow, speaking = names("slow", 200), names("speaking", 100)
    loop.broker.delay = by_kind(slow=0.25, speaking=PROMPT)
    await loop.rounds([*slow, *speaking], 5)

    assert await loop.rounds([*slow, *speaking], 20, speaking) < timedelta(seconds=PERIOD / 2)
    assert await loop.rounds([*slow, *speaking], 20, slow) < PROBE_MAX_AGE / 2
    assert loop.broker.channels <= MAX_SINGLE_QUEUE_CHANNELS + MAX_SLOW_CHANNELS + 2


async def test_a_queue_that_answers_promptly_again_shares_a_channel_again(loop: ProbeLoop) -> None:
    queues = names("silent", 20)
    loop.broker.delay = by_kind(silent=20)
    await loop.rounds(queues, 10)
    loop.broker.delay = by_kind(silent=PROMPT)
    await loop.rounds(queues, 25)

    channels = loop.broker.channels
    assert await loop.rounds(queues, 10, queues) < timedelta(seconds=PROMPT_SECONDS)
    assert loop.broker.channels == channels


async def test_a_round_that_times_out_is_continued_by_the_next_one(loop: ProbeLoop) -> None:
    queues = names("distant", 2000)
    loop.broker.delay = by_kind(distant=0.1)

    await loop.rounds(queues, 13)

    assert loop.last.keys() == set(queues)


async def test_an_answer_has_the_time_of_its_probe(loop: ProbeLoop) -> None:
    loop.broker.delay = by_kind(slow=0.5)
    assert await loop.prober.probe(["slow-0"]) == {}
    asked = now() - timedelta(seconds=PROMPT_SECONDS)
    assert await loop.prober.probe(["slow-0"]) == {}
    await asyncio.sleep(PERIOD)

    assert (await loop.prober.probe(["slow-0"]))["slow-0"] == Probe(asked, READY, consumers=0)
    assert loop.reconnector.answered == [False, False, True]


async def test_a_queue_that_is_not_probed_any_longer_is_forgotten(loop: ProbeLoop) -> None:
    def known() -> set[str]:
        session = loop.prober._session
        assert session is not None
        return {*session._prompt, *session._slow, *session._answers, *session.refusals._refusals}

    loop.broker.delay = by_kind(jobs=PROMPT, slow=0.5, missing=PROMPT, stays=PROMPT)
    loop.broker.refusals["missing-0"] = (404, "NOT_FOUND")
    await loop.rounds(["jobs-0", "slow-0", "missing-0", "stays-0"], 5)
    assert known() == {"jobs-0", "slow-0", "missing-0", "stays-0"}
    channels = loop.broker.channels

    await loop.rounds(["stays-0"], 3 * FORGET_AFTER_SECONDS)

    assert known() == {"stays-0"}
    assert loop.broker.channels == channels, "the other queue is probed as before"


async def test_a_new_connection_starts_without_slow_queues(loop: ProbeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    loop.broker.delay = by_kind(queue=NEVER)
    await loop.rounds(["queue-0"], 3)
    await loop.reconnector.current.close()
    loop.broker.delay = by_kind(queue=PROMPT)
    loop.reconnector.current = await connected(loop.broker, monkeypatch)

    assert (await loop.prober.probe(["queue-0"]))["queue-0"].ready == READY


async def test_a_restarted_broker_gets_no_more_probes_than_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the seconds after a restart, each queue is probed as often as at any other time."""
    broker, queues = FakeAmqp(), names("jobs", 1000)
    monkeypatch.setattr(asyncio, "open_connection", broker.connect)
    reconnector = Reconnector(access(), name="probe")
    prober = Prober(ENDPOINT, reconnector, now)
    async with probed_every_quarter_second(prober, queues):
        await asyncio.sleep(5)
        broker.down = True
        broker.close_all()
        await asyncio.sleep(30)  # the next attempt to connect follows within 4 s then, and later after a longer outage
        broker.down = False
        broker.probed.clear()
        broker.connects.clear()
        await asyncio.sleep(5)

    assert set(broker.probed) == set(queues), "every queue is read again"
    assert len(broker.connects) == 1
    assert max(broker.probed.values()) <= 4 * 5
    assert broker.peers[-1].channels.keys() <= set(range(1, MAX_SINGLE_QUEUE_CHANNELS + 5))
    prober.close()
    await reconnector.close()


@asynccontextmanager
async def probed_every_quarter_second(prober: Prober, queues: Collection[str]) -> AsyncIterator[None]:
    async def probe() -> None:
        while True:
            with contextlib.suppress(BrokerFault):
                await prober.probe(queues)
            await asyncio.sleep(0.25)

    task = asyncio.create_task(probe())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
