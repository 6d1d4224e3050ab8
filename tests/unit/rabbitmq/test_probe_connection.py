"""One connection to a broker in memory, in virtual time."""

import asyncio

import pytest
from pamqp import commands, frame

from taskqueue_operator.rabbitmq.probe_connection import CLOSE_TIMEOUT_SECONDS

from .fake_amqp import NEVER, READY, FakeAmqp, connected

pytestmark = pytest.mark.looptime


async def test_many_questions_are_answered_on_one_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)
    queues = [f"jobs-{n}" for n in range(1000)]

    for _ in range(3):
        asked = connection.probe(queues)
        await asked.done
        assert asked.ready == dict.fromkeys(queues, READY)

    assert broker.channels == 1
    await connection.close()


async def test_a_refusal_names_its_queue_and_the_channel_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    broker.refusals["b"] = (404, "NOT_FOUND - no queue 'b'")
    connection = await connected(broker, monkeypatch)

    asked = connection.probe(["a", "b", "c"])
    await asked.done
    again = connection.probe(["c"])
    await again.done

    assert (asked.ready, list(asked.pending), asked.refusal) == (
        {"a": READY},
        ["b", "c"],
        (404, "NOT_FOUND - no queue 'b'"),
    )
    assert again.ready == {"c": READY}
    assert broker.channels == 1
    await connection.close()


@pytest.mark.parametrize("channel", [1, 2])
async def test_an_answer_is_never_taken_for_that_of_another_queue(
    monkeypatch: pytest.MonkeyPatch, channel: int
) -> None:
    broker = FakeAmqp(lambda _: NEVER)
    connection = await connected(broker, monkeypatch)
    asked = connection.probe(["jobs"])

    broker.peers[0].reader.feed_data(frame.marshal(commands.Queue.DeclareOk("other", 5, 0), channel))
    await asyncio.sleep(0.1)

    assert asked.ready == {}
    assert connection.closed, "a broker that mixes up answers is left"
    await connection.close()


async def test_a_connection_without_channels_to_spare_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp(lambda _: NEVER)
    broker.tune = commands.Connection.Tune(3, 0, 0)
    connection = await connected(broker, monkeypatch)

    asked = [connection.probe([queue]) for queue in "abc"]
    open_until_now = not connection.closed
    asked.append(connection.probe(["d"]))

    assert (open_until_now, connection.closed) == (True, True)
    assert all(each.done.done() and not each.ready for each in asked)


async def test_both_sides_hear_each_other_while_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)

    for _ in range(20):
        await asyncio.sleep(10)
        broker.peers[0].reader.feed_data(b"\x08\x00\x00\x00\x00\x00\x00\xce")
    kept = not connection.closed
    await asyncio.sleep(31)

    assert broker.beats >= 20
    assert (kept, connection.closed) == (True, True), "a peer that says nothing is gone"


@pytest.mark.parametrize("gone", ["hangs up", "says so", "babbles"])
async def test_who_waits_learns_that_the_connection_is_lost(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    broker = FakeAmqp(lambda _: NEVER)
    connection = await connected(broker, monkeypatch)
    asked = connection.probe(["jobs"])

    if gone == "hangs up":
        broker.hang_up()
    elif gone == "says so":
        broker.peers[0].say(0, commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0))
    else:
        broker.peers[0].reader.feed_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with asyncio.timeout(1):
        await asked.done

    assert connection.closed
    assert asked.ready == connection.probe(["jobs"]).ready == {}
    assert connection.probe(["jobs"]).done.done()


@pytest.mark.parametrize("mute", [False, True])
async def test_a_connection_closes_whatever_comes_of_it(monkeypatch: pytest.MonkeyPatch, *, mute: bool) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)
    broker.mute = mute

    await connection.close()

    assert broker.peers[0].closed
    assert asyncio.get_running_loop().time() == pytest.approx(CLOSE_TIMEOUT_SECONDS if mute else 0, abs=0.1)


async def test_who_is_cancelled_while_it_closes_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)
    broker.mute = True
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(1)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing
    assert broker.peers[0].closed
