"""One probe connection to an AMQP server in memory, in virtual time."""

import asyncio

import pytest
from pamqp import commands, frame

from taskqueue_operator.rabbitmq.probe_connection import CLOSE_TIMEOUT_SECONDS

from .fake_amqp import NEVER, READY, FakeAmqp, connected

pytestmark = pytest.mark.looptime


@pytest.mark.slow
async def test_many_probes_share_one_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)
    queues = [f"jobs-{n}" for n in range(1000)]

    for _ in range(3):
        batch = connection.probe(queues)
        await batch.done
        assert batch.ready == dict.fromkeys(queues, READY)

    assert broker.channels == 1
    await connection.close()


async def test_a_refusal_names_its_queue_and_the_channel_is_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    broker.refusals["b"] = (404, "NOT_FOUND - no queue 'b'")
    connection = await connected(broker, monkeypatch)

    batch = connection.probe(["a", "b", "c"])
    await batch.done
    again = connection.probe(["c"])
    await again.done

    assert (batch.ready, list(batch.pending), batch.refusal) == (
        {"a": READY},
        ["b", "c"],
        (404, "NOT_FOUND - no queue 'b'"),
    )
    assert again.ready == {"c": READY}
    assert broker.channels == 1
    await connection.close()


@pytest.mark.parametrize("channel", [1, 2])
async def test_an_answer_for_another_queue_closes_the_connection(monkeypatch: pytest.MonkeyPatch, channel: int) -> None:
    broker = FakeAmqp(lambda _: NEVER)
    connection = await connected(broker, monkeypatch)
    batch = connection.probe(["jobs"])

    broker.peers[0].reader.feed_data(frame.marshal(commands.Queue.DeclareOk("other", 5, 0), channel))
    await asyncio.sleep(0.1)

    assert batch.ready == {}
    assert connection.closed, "a broker that mixes up answers is not used any longer"
    await connection.close()


async def test_a_connection_ends_when_all_its_channels_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp(lambda _: NEVER)
    broker.tune = commands.Connection.Tune(3, 0, 0)
    connection = await connected(broker, monkeypatch)

    batches = [connection.probe([queue]) for queue in "abc"]
    was_open = not connection.closed
    batches.append(connection.probe(["d"]))

    assert (was_open, connection.closed) == (True, True)
    assert all(batch.done.done() and not batch.ready for batch in batches)


async def test_heartbeats_keep_an_idle_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)

    for _ in range(20):
        await asyncio.sleep(10)
        broker.peers[0].reader.feed_data(b"\x08\x00\x00\x00\x00\x00\x00\xce")
    was_open = not connection.closed
    await asyncio.sleep(31)

    assert broker.heartbeats >= 20
    assert (was_open, connection.closed) == (True, True), "a peer without heartbeats is gone"


@pytest.mark.parametrize("loss", ["socket closed", "connection.close", "not AMQP"])
async def test_a_lost_connection_completes_all_batches_without_answers(
    monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    broker = FakeAmqp(lambda _: NEVER)
    connection = await connected(broker, monkeypatch)
    batch = connection.probe(["jobs"])

    if loss == "socket closed":
        broker.close_all()
    elif loss == "connection.close":
        broker.peers[0].send(0, commands.Connection.Close(320, "CONNECTION_FORCED", 0, 0))
    else:
        broker.peers[0].reader.feed_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with asyncio.timeout(1):
        await batch.done

    assert connection.closed
    assert batch.ready == connection.probe(["jobs"]).ready == {}
    assert connection.probe(["jobs"]).done.done()


@pytest.mark.parametrize("mute", [False, True])
async def test_close_ends_with_or_without_an_answer_of_the_broker(
    monkeypatch: pytest.MonkeyPatch, *, mute: bool
) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)
    broker.mute = mute

    await connection.close()

    assert broker.peers[0].closed
    assert asyncio.get_running_loop().time() == pytest.approx(CLOSE_TIMEOUT_SECONDS if mute else 0, abs=0.1)


async def test_a_cancelled_close_leaves_no_open_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = FakeAmqp()
    connection = await connected(broker, monkeypatch)
    broker.mute = True
    closing = asyncio.create_task(connection.close())
    await asyncio.sleep(1)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing
    assert broker.peers[0].closed
