"""Connecting to a broker that refuses, closes connections or does not answer, in virtual time."""

import asyncio
import random

import pytest
from pamqp import commands

from taskqueue_operator.rabbitmq.clock import loop_time
from taskqueue_operator.rabbitmq.faults import CAUSES
from taskqueue_operator.rabbitmq.reconnect import (
    BACKOFF,
    CONNECT_TIMEOUT_SECONDS,
    SILENCE_TIMEOUT_SECONDS,
    Reconnector,
)
from taskqueue_operator.resource.faults import BrokerFault, Reason

from .fake_amqp import FakeAmqp, access

pytestmark = pytest.mark.looptime

CAUSE = dict(CAUSES)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> FakeAmqp:
    made = FakeAmqp()
    monkeypatch.setattr(asyncio, "open_connection", made.connect)
    return made


@pytest.fixture
def reconnector() -> Reconnector:
    return Reconnector(access(), name="probe")


async def fault(reconnector: Reconnector) -> BrokerFault:
    with pytest.raises(BrokerFault) as raised:
        await reconnector.connection()
    return raised.value


@pytest.mark.parametrize(
    ("text", "reason"),
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
async def test_the_text_of_a_refusal_determines_the_reason(
    broker: FakeAmqp, reconnector: Reconnector, text: str, reason: Reason
) -> None:
    broker.close = commands.Connection.Close(530, text, 0, 0)

    assert (await fault(reconnector)).reason is reason


async def test_a_broker_that_accepts_the_connection_and_does_not_answer_is_a_timeout(
    broker: FakeAmqp, reconnector: Reconnector
) -> None:
    broker.mute = True

    assert CAUSE[TimeoutError] in (await fault(reconnector)).message
    assert asyncio.get_running_loop().time() == pytest.approx(CONNECT_TIMEOUT_SECONDS)
    assert broker.peers[0].closed


@pytest.mark.slow
async def test_attempts_back_off_and_are_spread_over_time(broker: FakeAmqp, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 observers of an unreachable broker connect a few times per second, however often they probe."""
    spread = random.Random(1)
    monkeypatch.setattr(random, "uniform", spread.uniform)
    broker.down = True
    reconnectors = [Reconnector(access(), name="probe") for _ in range(50)]
    for _ in range(60 * 20):
        for reconnector in reconnectors:
            await fault(reconnector)
        await asyncio.sleep(0.05)

    late = [at for at in broker.connects if at > 30]
    expected = len(reconnectors) * 30 / (BACKOFF.longest_seconds / 2)
    assert 0.8 * expected < len(late) < 1.2 * expected
    busiest = max(sum(second <= at < second + 1 for at in late) for second in range(30, 60))
    assert busiest < 2 * expected / 30, "spread over time"


async def test_after_an_answer_the_next_loss_has_the_shortest_backoff(
    broker: FakeAmqp, reconnector: Reconnector
) -> None:
    for _ in range(20):
        connection = await reconnector.connection()
        reconnector.record_success(connection)
        broker.close_all()
        await asyncio.sleep(0)
        assert CAUSE[ConnectionError] in (await fault(reconnector)).message
        await asyncio.sleep(0.5)
        assert await reconnector.connection() is not connection


async def test_a_silent_connection_is_closed_after_the_silence_timeout(
    broker: FakeAmqp, reconnector: Reconnector
) -> None:
    connection = await reconnector.connection()
    reconnector.record_timeout(connection, since=loop_time())
    await asyncio.sleep(SILENCE_TIMEOUT_SECONDS)
    reconnector.record_timeout(connection, since=loop_time())
    was_open = not connection.closed

    await asyncio.sleep(0.1)
    with pytest.raises(BrokerFault, match=CAUSE[TimeoutError]):
        reconnector.record_timeout(connection, since=loop_time())
    assert (was_open, connection.closed) == (True, True)
    assert broker.peers[0].closed


async def test_silence_starts_with_an_unanswered_probe(broker: FakeAmqp, reconnector: Reconnector) -> None:
    """While a refusal is cached, no probe is sent, so no answer is expected."""
    connection = await reconnector.connection()
    reconnector.record_success(connection)
    await asyncio.sleep(2 * SILENCE_TIMEOUT_SECONDS)
    reconnector.record_timeout(connection, since=loop_time() - SILENCE_TIMEOUT_SECONDS / 2)
    assert not connection.closed
    assert len(broker.connects) == 1


@pytest.mark.parametrize("silent", [False, True])
async def test_a_loss_with_many_probes_in_flight_is_one_failure_with_one_message(
    broker: FakeAmqp, reconnector: Reconnector, monkeypatch: pytest.MonkeyPatch, *, silent: bool
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, longest: longest)
    connection = await reconnector.connection()
    started = loop_time()
    if silent:
        broker.mute = True
        await asyncio.sleep(SILENCE_TIMEOUT_SECONDS + 0.1)
    else:
        broker.close_all()
        await asyncio.sleep(0)

    messages = set()
    for _ in range(20):
        with pytest.raises(BrokerFault) as raised:
            reconnector.record_timeout(connection, started)
        messages |= {raised.value.message, (await fault(reconnector)).message}

    broker.mute = False
    await asyncio.sleep(BACKOFF.first_seconds)
    assert len(messages) == 1
    assert await reconnector.connection() is not connection, (
        "after the shortest backoff, and without a closing handshake"
    )


async def test_probes_of_a_lost_connection_do_not_affect_the_next_one(
    broker: FakeAmqp, reconnector: Reconnector
) -> None:
    lost = await reconnector.connection()
    broker.close_all()
    await asyncio.sleep(0)
    await fault(reconnector)
    await asyncio.sleep(BACKOFF.first_seconds)
    connection = await reconnector.connection()

    reconnector.record_timeout(lost, since=0)
    reconnector.record_success(lost)

    assert await reconnector.connection() is connection
    assert not connection.closed
    assert reconnector._failures == 1, "an answer from before the loss does not reset the backoff"
