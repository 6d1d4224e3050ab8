"""The effect of commands on a worker, in virtual time. The test decides when the consumers are cancelled."""

import asyncio
import json
from typing import Any

import pytest

from taskqueue_worker.bounds import ANSWERS
from taskqueue_worker.command_handler import LEASE_EXPIRED, NOT_CERTAIN, UNDRAINED, CommandHandler
from taskqueue_worker.consume_gate import ConsumeGate
from taskqueue_worker.drain_lease import TOO_MANY
from taskqueue_worker.metrics import Metrics
from taskqueue_worker.protocol import Answer, Drain, Result
from taskqueue_worker.tasks import Registry
from tests.unit.worker.messages import channel_of, delivery, make_worker, runner_of

pytestmark = pytest.mark.looptime

ME = "me"
NEVER = 10_000.0


class CommandHarness:
    """A worker whose consumers are cancelled for certain `cancel_seconds` after the drain."""

    def __init__(self) -> None:
        self.cancel_seconds = 0.1
        self.cancels = 0
        self.gate = ConsumeGate()
        self.metrics = Metrics("ns/name", "1", ())
        registry = Registry()
        registry.task("second")(lambda _: None)
        self.worker = make_worker(runner_of(registry), self.metrics, self.gate.state_changed)
        self.handler = CommandHandler(ME, self.gate, self.worker, self._wait_until_quiet, self.metrics)

    async def _wait_until_quiet(self) -> None:
        await asyncio.sleep(self.cancel_seconds)
        self.cancels += 1

    def send(self, verb: str, id: str = "id", **changes: object) -> None:  # noqa: A002 - named as the field
        message: dict[str, Any] = {"version": 1, "id": id, "command": verb, "incarnation": ME, "installation": "a"}
        message |= {"epoch": 1, "seq": 1, "lease_seconds": 60}
        self.handler.on_message(json.dumps(message | changes).encode())

    @property
    def answers(self) -> list[Answer]:
        answers = list(self.handler.answers)
        self.handler.answers.clear()
        return answers

    def counted(self, command: str, outcome: str) -> float | None:
        labels = {"command": command, "outcome": outcome}
        return self.metrics.registry.get_sample_value("taskqueue_worker_commands_total", labels)


@pytest.fixture
async def harness() -> CommandHarness:
    return CommandHarness()


def refusal(reason: str, id: str = "id") -> Answer:  # noqa: A002 - named as the field
    return Answer(id, Result.REFUSED, reason)


async def test_no_task_starts_after_a_drain_is_read(harness: CommandHarness) -> None:
    harness.send("drain")
    assert harness.gate.closed.is_set()
    harness.worker.receive(delivery("second"))
    assert (harness.worker.in_flight, harness.worker.prefetched) == (0, 1)
    assert harness.handler.drained_by == Drain("a", 1, 1)


async def test_a_drain_is_answered_when_the_consumers_are_cancelled_for_certain(harness: CommandHarness) -> None:
    harness.send("drain")
    assert harness.answers == []
    await asyncio.sleep(0.2)
    assert harness.answers == [Answer("id")]
    harness.send("drain", "again", seq=2)
    await asyncio.sleep(0.2)
    assert harness.answers == [Answer("again")]
    assert harness.cancels == 2, "confirmed for each drain"
    assert harness.counted("drain", "done") == 2


async def test_drains_that_arrive_before_the_first_is_confirmed_are_answered_together(harness: CommandHarness) -> None:
    harness.cancel_seconds = 3
    harness.send("drain", "1")
    await asyncio.sleep(2)
    harness.send("drain", "2")
    await asyncio.sleep(1.1)
    assert harness.answers == [Answer("1"), Answer("2")]
    assert harness.cancels == 1


async def test_a_drain_that_is_not_confirmed_is_refused_and_the_worker_resumes(harness: CommandHarness) -> None:
    harness.cancel_seconds = NEVER
    harness.send("drain")
    prefetched = delivery("second")
    harness.worker.receive(prefetched)
    await asyncio.sleep(4.1)
    assert harness.answers == [refusal(NOT_CERTAIN)]
    assert harness.gate.opened.is_set()
    assert harness.handler.drained_by is None
    await harness.worker.wait_until_settled()
    assert channel_of(prefetched).settled == ["ack"], "the prefetched message runs"
    await asyncio.sleep(100)
    assert harness.answers == []
    assert harness.counted("drain", "refused") == 1


async def test_an_undrain_opens_the_gate_at_once_and_refuses_the_unconfirmed_drain(harness: CommandHarness) -> None:
    harness.cancel_seconds = 3
    harness.send("drain", "1")
    await asyncio.sleep(1)
    harness.send("undrain", "2")
    assert harness.answers == [refusal(UNDRAINED, "1"), Answer("2")]
    assert harness.gate.opened.is_set()
    await asyncio.sleep(10)
    assert (harness.cancels, harness.answers) == (0, [])


async def test_a_lease_expires_in_time_and_later_with_each_renewal(harness: CommandHarness) -> None:
    harness.send("drain")
    await asyncio.sleep(40)
    harness.send("drain")
    await asyncio.sleep(59.9)
    assert harness.gate.closed.is_set()
    await asyncio.sleep(0.2)
    assert harness.gate.opened.is_set()
    assert harness.handler.drained_by is None


async def test_a_drain_whose_lease_expires_before_it_is_confirmed_is_refused(harness: CommandHarness) -> None:
    harness.cancel_seconds = 3
    harness.send("drain", lease_seconds=1)
    await asyncio.sleep(1.1)
    assert harness.answers == [refusal(LEASE_EXPIRED)]
    assert harness.gate.opened.is_set()


async def test_the_lease_of_an_undrained_drain_does_not_end_a_later_drain(harness: CommandHarness) -> None:
    harness.send("drain")
    harness.send("undrain")
    await asyncio.sleep(30)
    harness.send("drain")
    await asyncio.sleep(31)
    assert harness.gate.closed.is_set()


async def test_a_leaving_worker_never_consumes_again(harness: CommandHarness) -> None:
    harness.cancel_seconds = 3
    harness.send("drain", "1")
    harness.handler.begin_shutdown()
    assert harness.answers == [refusal("leaving", "1")]
    for verb in ("drain", "undrain"):
        harness.send(verb)
        assert harness.answers == [refusal("leaving")]
    harness.send("report")
    assert harness.answers == [Answer("id")]
    await asyncio.sleep(100)
    assert harness.gate.closed.is_set()
    assert harness.gate.leaving.is_set()
    assert not harness.gate.opened.is_set()


async def test_each_answer_sets_state_changed(harness: CommandHarness) -> None:
    harness.send("report")
    assert harness.gate.state_changed.is_set()


async def test_a_message_that_is_not_for_this_worker_is_counted_and_ignored(harness: CommandHarness) -> None:
    harness.send("drain", incarnation="another")
    harness.handler.on_message(b"?")
    assert (harness.answers, harness.gate.opened.is_set()) == ([], True)
    assert harness.counted("unknown", "ignored") == 2


async def test_an_unknown_command_has_no_label_of_its_own(harness: CommandHarness) -> None:
    harness.send("explode")
    (answer,) = harness.answers
    assert answer.result is Result.REFUSED
    assert "explode" in str(answer.reason)
    assert harness.counted("unknown", "refused") == 1


async def test_of_a_flood_of_commands_the_last_answers_are_kept(harness: CommandHarness) -> None:
    for number in range(10 * ANSWERS):
        harness.send("report", str(number), installation=str(number))
    answers = harness.answers
    assert len(answers) == ANSWERS
    assert answers[-1] == refusal(TOO_MANY, str(10 * ANSWERS - 1))
