"""Connecting to a broker that refuses, breaks or says nothing, in virtual time."""

import asyncio
import random

import pytest
from pamqp import commands

from taskqueue_operator.rabbitmq.clock import loop_time
from taskqueue_operator.rabbitmq.reconnect import (
    BACKOFF,
    CONNECT_TIMEOUT_SECONDS,
    SILENCE_TIMEOUT_SECONDS,
    Reconnector,
)
from taskqueue_operator.resource.faults import BrokerFault, Reason

from .fake_amqp import ENDPOINT, FakeAmqp

pytestmark = pytest.mark.looptime


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> FakeAmqp:
    made = FakeAmqp()
    monkeypatch.setattr(asyncio, "open_connection", made.dial)
    return made


@pytest.fixture
def line() -> Reconnector:
    return Reconnector(ENDPOINT, name="probe")


async def fault(line: Reconnector) -> BrokerFault:
    with pytest.raises(BrokerFault) as raised:
        await line.connection()
    return raised.value


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("NOT_ALLOWED - vhost / not found", Reason.VHOST_NOT_FOUND),
        ("NOT_ALLOWED - access to vhost '/' refused for user 'app'", Reason.PERMISSION_DENIED),
        (
            "NOT_ALLOWED - access to vhost '/' refused for user 'app': connection limit (1) is reached",
            Reason.VHOST_NOT_FOUND,
        ),
        ("INTERNAL_ERROR - access to vhost '/' refused for user 'app': vhost '/' is down", Reason.VHOST_NOT_FOUND),
    ],
)
async def test_the_words_of_a_refusal_say_whose_trouble_it_is(
    broker: FakeAmqp, line: Reconnector, words: str, reason: Reason
) -> None:
    broker.close = commands.Connection.Close(530, words, 0, 0)

    assert (await fault(line)).reason is reason


async def test_a_broker_that_takes_the_call_and_says_nothing_is_left_in_time(
    broker: FakeAmqp, line: Reconnector
) -> None:
    broker.mute = True

    assert "(no answer in time)" in (await fault(line)).message
    assert asyncio.get_running_loop().time() == pytest.approx(CONNECT_TIMEOUT_SECONDS)
    assert broker.peers[0].closed


async def test_attempts_become_rare_and_keep_no_step(broker: FakeAmqp, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked: 50 observers of a broker that is gone try a few times a second, not 1,000 times."""
    spread = random.Random(1)
    monkeypatch.setattr(random, "uniform", spread.uniform)
    broker.down = True
    lines = [Reconnector(ENDPOINT, name="probe") for _ in range(50)]
    for _ in range(60 * 20):
        for line in lines:
            await fault(line)
        await asyncio.sleep(0.05)

    late = [at for at in broker.dials if at > 30]
    expected = len(lines) * 30 / (BACKOFF.longest_seconds / 2)
    assert 0.8 * expected < len(late) < 1.2 * expected
    busiest = max(sum(second <= at < second + 1 for at in late) for second in range(30, 60))
    assert busiest < 2 * expected / 30, "spread over the time, not in step"


async def test_a_connection_that_answered_is_made_anew_after_a_short_while(broker: FakeAmqp, line: Reconnector) -> None:
    for _ in range(20):
        connection = await line.connection()
        line.record_success(connection)
        broker.hang_up()
        await asyncio.sleep(0)
        assert "(connection closed)" in (await fault(line)).message
        await asyncio.sleep(0.5)
        assert await line.connection() is not connection


async def test_silence_is_borne_for_a_while(broker: FakeAmqp, line: Reconnector) -> None:
    connection = await line.connection()
    line.record_timeout(connection, since=loop_time())
    await asyncio.sleep(SILENCE_TIMEOUT_SECONDS)
    line.record_timeout(connection, since=loop_time())
    kept = not connection.closed

    await asyncio.sleep(0.1)
    with pytest.raises(BrokerFault, match="no answer in time"):
        line.record_timeout(connection, since=loop_time())
    assert (kept, connection.closed) == (True, True)
    assert broker.peers[0].closed


async def test_silence_begins_with_a_question(broker: FakeAmqp, line: Reconnector) -> None:
    """Refusals stand for a while without being asked for: nothing was expected meanwhile."""
    connection = await line.connection()
    line.record_success(connection)
    await asyncio.sleep(2 * SILENCE_TIMEOUT_SECONDS)
    line.record_timeout(connection, since=loop_time() - SILENCE_TIMEOUT_SECONDS / 2)
    assert not connection.closed
    assert len(broker.dials) == 1


@pytest.mark.parametrize("silent", [False, True])
async def test_a_loss_with_many_questions_under_way_is_one_failure_with_one_message(
    broker: FakeAmqp, line: Reconnector, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, longest: longest)
    connection = await line.connection()
    begun = loop_time()
    if silent:
        broker.mute = True
        await asyncio.sleep(SILENCE_TIMEOUT_SECONDS + 0.1)
    else:
        broker.hang_up()
        await asyncio.sleep(0)

    said = set()
    for _ in range(20):
        with pytest.raises(BrokerFault) as raised:
            line.record_timeout(connection, begun)
        said |= {raised.value.message, (await fault(line)).message}

    broker.mute = False
    await asyncio.sleep(BACKOFF.first_seconds)
    assert len(said) == 1
    assert await line.connection() is not connection, "after the shortest pause, and without taking leave"


async def test_what_was_asked_on_a_lost_connection_is_no_matter_of_the_next(
    broker: FakeAmqp, line: Reconnector
) -> None:
    lost = await line.connection()
    broker.hang_up()
    await asyncio.sleep(0)
    await fault(line)
    await asyncio.sleep(BACKOFF.first_seconds)
    connection = await line.connection()

    line.record_timeout(lost, since=0)
    line.record_success(lost)

    assert await line.connection() is connection
    assert not connection.closed
    assert line._failures == 1, "an answer that came before the loss proves nothing about what came after it"
