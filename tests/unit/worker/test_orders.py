"""What a command does to a worker, in virtual time; the broker's proof comes when the test says so."""

import asyncio
import json
from typing import Any

import pytest

from taskqueue_worker.command_handler import CommandHandler
from taskqueue_worker.consume_gate import ConsumeGate
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.protocol import Answer, Drain, Result
from taskqueue_worker.runner import Runner
from taskqueue_worker.tasks import Registry
from taskqueue_worker.worker import Worker
from tests.unit.worker.messages import Message, message_of

pytestmark = pytest.mark.looptime

ME = "me"
FOREVER = 10_000


class Bench:
    """Orders to a worker whose consumers are gone `proof_seconds` after it was asked for."""

    def __init__(self) -> None:
        self.proof_seconds = 0.1
        self.proven = 0
        self.intake = ConsumeGate()
        self.metrics = Metrics("ns/name", "1", ())
        registry = Registry()
        registry.task("second")(lambda _: None)
        runner = Runner(registry, timeout_seconds=50, threads=1, draining=self.intake.leaving)
        self.worker = Worker(runner, 1, self.metrics, self.intake.news)
        self.orders = CommandHandler(ME, self.intake, self.worker, self._quiet, self.metrics)

    async def _quiet(self) -> None:
        await asyncio.sleep(self.proof_seconds)
        self.proven += 1

    def send(self, name: str, id: str = "id", **changes: object) -> None:  # noqa: A002 - named as the field
        message: dict[str, Any] = {"version": 1, "id": id, "command": name, "incarnation": ME, "installation": "a"}
        message |= {"epoch": 1, "seq": 1, "lease_seconds": 60}
        self.orders.take(json.dumps(message | changes).encode())

    @property
    def answers(self) -> list[Answer]:
        answers = list(self.orders.answers)
        self.orders.answers.clear()
        return answers

    def commands(self, command: str, outcome: str) -> float | None:
        labels = {"command": command, "outcome": outcome}
        return self.metrics.registry.get_sample_value("taskqueue_worker_commands_total", labels)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def refused(reason: str, id: str = "id") -> Answer:  # noqa: A002 - named as the field
    return Answer(id, Result.REFUSED, reason)


async def test_from_the_moment_a_drain_is_read_nothing_starts(bench: Bench) -> None:
    bench.send("drain")
    assert bench.intake.shut.is_set()
    delivery = Message.delivered("second")
    bench.worker.receive(delivery)
    assert (bench.worker.in_flight, bench.worker.prefetched) == (0, 1)
    assert bench.orders.drained_by == Drain("a", 1, 1)


async def test_a_drain_is_answered_when_nothing_comes_any_more(bench: Bench) -> None:
    bench.send("drain")
    assert bench.answers == []
    await asyncio.sleep(0.2)
    assert bench.answers == [Answer("id")]
    bench.send("drain", "again", seq=2)
    await asyncio.sleep(0.2)
    assert bench.answers == [Answer("again")]
    assert bench.proven == 2, "each time anew"
    assert bench.commands("drain", "done") == 2


async def test_drains_that_come_while_the_first_waits_are_answered_with_it(bench: Bench) -> None:
    bench.proof_seconds = 3
    bench.send("drain", "1")
    await asyncio.sleep(2)
    bench.send("drain", "2")
    await asyncio.sleep(1.1)
    assert bench.answers == [Answer("1"), Answer("2")]
    assert bench.proven == 1


async def test_without_proof_a_drain_is_refused_and_the_worker_goes_on(bench: Bench) -> None:
    bench.proof_seconds = FOREVER
    bench.send("drain")
    delivery = Message.delivered("second")
    bench.worker.receive(delivery)
    await asyncio.sleep(4.1)
    assert bench.answers == [refused("the broker does not end the consumers")]
    assert bench.intake.open.is_set()
    assert bench.orders.drained_by is None
    await bench.worker.finish()
    assert message_of(delivery).settled == ["ack"], "what it held all the while is worked on"
    await asyncio.sleep(100)
    assert bench.answers == []
    assert bench.commands("drain", "refused") == 1


async def test_an_undrain_opens_at_once_and_refuses_the_drain_that_waits(bench: Bench) -> None:
    bench.proof_seconds = 3
    bench.send("drain", "1")
    await asyncio.sleep(1)
    bench.send("undrain", "2")
    assert bench.answers == [refused("undrained meanwhile", "1"), Answer("2")]
    assert bench.intake.open.is_set()
    await asyncio.sleep(10)
    assert (bench.proven, bench.answers) == (0, [])


async def test_a_lease_ends_to_the_moment_and_later_with_each_renewal(bench: Bench) -> None:
    bench.send("drain")
    await asyncio.sleep(40)
    bench.send("drain")
    await asyncio.sleep(59.9)
    assert bench.intake.shut.is_set()
    await asyncio.sleep(0.2)
    assert bench.intake.open.is_set()
    assert bench.orders.drained_by is None


async def test_a_lease_that_ends_before_the_proof_refuses(bench: Bench) -> None:
    bench.proof_seconds = 3
    bench.send("drain", lease_seconds=1)
    await asyncio.sleep(1.1)
    assert bench.answers == [refused("the lease ended meanwhile")]
    assert bench.intake.open.is_set()


async def test_the_lease_of_a_drain_that_was_undone_ends_no_later_one(bench: Bench) -> None:
    bench.send("drain")
    bench.send("undrain")
    await asyncio.sleep(30)
    bench.send("drain")
    await asyncio.sleep(31)
    assert bench.intake.shut.is_set()


async def test_leaving_is_for_good(bench: Bench) -> None:
    bench.proof_seconds = 3
    bench.send("drain", "1")
    bench.orders.leave()
    assert bench.answers == [refused("leaving", "1")]
    for name in ("drain", "undrain"):
        bench.send(name)
        assert bench.answers == [refused("leaving")]
    bench.send("report")
    assert bench.answers == [Answer("id")]
    await asyncio.sleep(100)
    assert bench.intake.shut.is_set()
    assert bench.intake.leaving.is_set()
    assert not bench.intake.open.is_set()


async def test_each_answer_is_news(bench: Bench) -> None:
    bench.send("report")
    assert bench.intake.news.is_set()


async def test_what_is_not_for_this_worker_is_counted_and_nothing_else(bench: Bench) -> None:
    bench.send("drain", incarnation="another")
    bench.orders.take(b"?")
    assert (bench.answers, bench.intake.open.is_set()) == ([], True)
    assert bench.commands("unknown", "ignored") == 2


async def test_what_cannot_be_understood_makes_no_label_of_its_own(bench: Bench) -> None:
    bench.send("explode")
    assert bench.answers == [refused("command 'explode' is not known")]
    assert bench.commands("unknown", "refused") == 1
