"""What proves that the broker delivers to a consumer, in virtual time."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from aiormq.exceptions import ChannelAccessRefused
from pamqp.commands import Queue

from taskqueue_worker.bounds import CONSUMER_CHECK_SECONDS
from taskqueue_worker.consume_proof import ConsumeProof, is_forgotten

pytestmark = pytest.mark.looptime


def answer(ready: int, consumers: int) -> Queue.DeclareOk:
    return Queue.DeclareOk("q", ready, consumers)


class FakeConnection:
    """A connection whose channels answer each passive declaration."""

    def __init__(self, answer: Queue.DeclareOk | BaseException | None) -> None:
        self.answer = answer
        self.asked = 0

    def channel(self, **_: object) -> "FakeConnection":
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def declare_queue(self, *_: object, **__: object) -> object:
        self.asked += 1
        if self.answer is None:
            await asyncio.sleep(3600)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return SimpleNamespace(declaration_result=self.answer)


def proof_of(consumer: object, holds: Callable[..., bool] = lambda _: False) -> ConsumeProof:
    subscriptions = [SimpleNamespace(queue="q", consumers=SimpleNamespace(current=consumer))]
    return ConsumeProof(cast("Sequence[Any]", subscriptions), cast("Any", SimpleNamespace(holds=holds)))


@pytest.fixture(autouse=True)
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    monkeypatch.setattr("taskqueue_worker.consume_proof.time", SimpleNamespace(monotonic=monotonic))


async def is_consuming_after_ten_checks(proof: ConsumeProof, connection: FakeConnection) -> bool:
    running = asyncio.ensure_future(proof.run(cast("Any", connection)))
    await asyncio.sleep(10 * CONSUMER_CHECK_SECONDS)
    is_consuming = proof.is_consuming
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert proof.is_consuming, "without a connection there is nothing to prove"
    return is_consuming


@pytest.mark.parametrize(
    ("deliveries", "ready", "consumers", "expected"),
    [
        (1, 5, 1, True),
        (0, 5, 0, True),
        (0, 5, 1, False),  # it may wait to become the single active consumer
        (1, 0, 0, False),  # so answers a queue without a leader
        (1, 0, 1, False),
    ],
)
def test_a_consumer_is_forgotten_if_messages_wait_and_it_has_had_some(
    deliveries: int, ready: int, consumers: int, *, expected: bool
) -> None:
    consumer = cast("Any", SimpleNamespace(tag="a", deliveries=deliveries))
    assert is_forgotten(consumer, answer(ready, consumers)) is expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (answer(5, 1), False),
        (None, False),  # no answer
        (RuntimeError("closed"), False),
        (ChannelAccessRefused(), True),  # an answer, which the subscription receives as well
        (answer(0, 1), True),
    ],
)
async def test_an_answer_that_shows_no_forgotten_consumer_is_a_proof(
    fault: Queue.DeclareOk | BaseException | None, *, expected: bool
) -> None:
    proof = proof_of(SimpleNamespace(tag="a", deliveries=1))
    assert await is_consuming_after_ten_checks(proof, FakeConnection(fault)) is expected


@pytest.mark.parametrize("what", ["a new delivery", "a message that waits", "no consumer"])
async def test_the_broker_is_not_asked_where_the_proof_is_known(what: str) -> None:
    class Counting:
        tag = "a"
        count = 0

        @property
        def deliveries(self) -> int:
            self.count += 1
            return self.count

    consumer = {"a new delivery": Counting(), "no consumer": None}.get(what, SimpleNamespace(tag="a", deliveries=1))
    connection = FakeConnection(answer(5, 1))
    proof = proof_of(consumer, lambda _: what == "a message that waits")
    assert await is_consuming_after_ten_checks(proof, connection)
    assert connection.asked == 0
