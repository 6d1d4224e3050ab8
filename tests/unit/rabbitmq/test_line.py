"""aiormq ends what waits for a closing connection with the reason of the close, which may be a CancelledError."""

import asyncio
from collections.abc import Awaitable, Callable

import aiormq
import pytest

from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.line import CLOSE_SECONDS, Line
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key

pytestmark = pytest.mark.looptime

ENDPOINT = Endpoint.parse(Key("media", "rabbitmq"), {"uri": b"amqp://app:secret@broker"}, None)


async def nothing() -> None:
    return None


async def cancelled(*_: object) -> None:
    raise asyncio.CancelledError


async def for_ever(*_: object) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    async def connect(_: object) -> None:
        return None

    monkeypatch.setattr(aiormq.Connection, "connect", connect)
    return Line(ENDPOINT, name="probe", explain=nothing)


async def test_a_connection_that_is_cancelled_while_it_opens_is_a_fault(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiormq.Connection, "connect", cancelled)

    with pytest.raises(BrokerFault, match="connection closed") as fault:
        await line.connection()

    assert fault.value.reason is Reason.BROKER_UNREACHABLE


@pytest.mark.parametrize("close", [cancelled, for_ever])
async def test_a_connection_closes_whatever_comes_of_it(
    line: Line, monkeypatch: pytest.MonkeyPatch, close: Callable[..., Awaitable[None]]
) -> None:
    monkeypatch.setattr(aiormq.Connection, "close", close)
    await line.connection()

    await line.close()

    assert asyncio.get_running_loop().time() <= CLOSE_SECONDS + 0.1


async def test_who_is_cancelled_while_it_closes_ends(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiormq.Connection, "close", for_ever)
    await line.connection()
    closing = asyncio.create_task(line.close())
    await asyncio.sleep(1)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing
