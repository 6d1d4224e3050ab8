"""The effect of commands on a worker. Time is an argument, and the test decides when the consumers are cancelled."""

import json
from typing import Any

import pytest

from taskqueue_drain import State
from taskqueue_drain.bounds import ANSWERS, REPORT_DEPENDENCIES
from taskqueue_drain.drain_lease import LEAVING, TOO_MANY
from taskqueue_drain.protocol import Answer, Result
from taskqueue_drain.worker_protocol import LEASE_EXPIRED, NOT_CERTAIN, UNDRAINED
from tests.unit.taskqueue_drain.fake_runtime import FakeRuntime, Recorder, joined


class Harness:
    """A worker on a control channel, at a time that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runtime = FakeRuntime()
        self.recorder = Recorder()
        self.protocol = joined(self.runtime, self.recorder)
        self.protocol.begin_channel()
        self.read_reports()

    def send(self, verb: str, id: str = "id", **changes: object) -> None:  # noqa: A002 - named as the field
        message: dict[str, Any] = {"version": 1, "id": id, "command": verb, "incarnation": "me", "installation": "a"}
        message |= {"epoch": 1, "seq": 1, "lease_seconds": 60}
        self.protocol.receive(json.dumps(message | changes).encode(), self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, as a channel does: wake the protocol whenever it asked for it."""
        end = self.now + seconds
        while (at := self.protocol.next_at(self.now)) is not None and at <= end:
            self.now = at
            self.protocol.advance(self.now)
            self.read_reports(keep=True)
        self.now = end

    def become_quiet(self) -> None:
        self.runtime.is_quiet = True
        self.protocol.advance(self.now)

    def read_reports(self, *, keep: bool = False) -> list[dict[str, Any]]:
        """Return the reports that are due; `keep` those with an answer for the next call."""
        reports: list[dict[str, Any]] = self.__dict__.pop("_kept", [])
        while self.protocol.is_report_due(self.now):
            reports.append(json.loads(self.protocol.report(self.now)))
        if keep:
            self._kept = reports
        return reports

    @property
    def answers(self) -> list[Answer]:
        answers = [report["answer"] for report in self.read_reports() if report["answer"]]
        return [Answer(answer["id"], Result(answer["result"]), answer["reason"]) for answer in answers]

    @property
    def state(self) -> State:
        return self.protocol.state


@pytest.fixture
def harness() -> Harness:
    return Harness()


def refusal(reason: str, id: str = "id") -> Answer:  # noqa: A002 - named as the field
    return Answer(id, Result.REFUSED, reason)


def test_a_drain_stops_the_worker_when_it_is_read(harness: Harness) -> None:
    harness.send("drain")
    assert harness.runtime.calls == ["stop"]
    (report,) = harness.read_reports()
    assert (report["state"], report["drain"]) == ("draining", {"installation": "a", "epoch": 1, "seq": 1})
    assert harness.recorder.events == ["draining by a"]


def test_a_drain_is_answered_when_the_consumers_are_cancelled_for_certain(harness: Harness) -> None:
    harness.send("drain")
    harness.wait(1)
    assert harness.answers == []
    harness.become_quiet()
    assert (harness.answers, harness.state) == ([Answer("id")], State.DRAINED)
    harness.runtime.is_quiet = False  # a message arrived after all
    harness.send("drain", "again", seq=2)
    harness.protocol.advance(harness.now)
    assert (harness.answers, harness.state) == ([], State.DRAINING)
    harness.become_quiet()
    assert harness.answers == [Answer("again")]
    assert harness.runtime.calls == ["stop"]
    assert harness.recorder.handled_commands == [("drain", "done")] * 2


def test_one_report_carries_the_answer_and_the_new_state(harness: Harness) -> None:
    harness.send("drain")
    harness.read_reports()
    harness.become_quiet()
    (report,) = harness.read_reports()
    assert (report["state"], report["answer"]["result"]) == ("drained", "done")


@pytest.mark.parametrize("held", ["in_flight", "prefetched"])
def test_a_worker_with_a_message_is_not_drained(harness: Harness, held: str) -> None:
    setattr(harness.runtime, held, 1)
    harness.send("drain")
    harness.become_quiet()
    assert (harness.answers, harness.state) == ([Answer("id")], State.DRAINING)
    setattr(harness.runtime, held, 0)
    assert harness.state is State.DRAINED
    assert harness.protocol.is_report_due(harness.now)


def test_drains_that_arrive_before_the_first_is_confirmed_are_answered_together(harness: Harness) -> None:
    harness.send("drain", "1")
    harness.wait(2)
    harness.send("drain", "2")
    harness.wait(1)
    harness.become_quiet()
    assert harness.answers == [Answer("1"), Answer("2")]


def test_a_drain_that_is_not_confirmed_is_refused_and_the_worker_resumes(harness: Harness) -> None:
    harness.send("drain", "1")
    harness.wait(3)
    harness.send("drain", "2")
    harness.wait(0.9)
    assert harness.answers == []
    harness.wait(0.1)
    assert harness.answers == [refusal(NOT_CERTAIN, "1"), refusal(NOT_CERTAIN, "2")]
    assert harness.runtime.calls == ["stop", "consume"]
    harness.wait(100)
    assert (harness.answers, harness.state) == ([], State.CONSUMING)
    assert harness.recorder.events == ["draining by a", "drain not confirmed"]


def test_an_undrain_lets_the_worker_consume_at_once_and_refuses_the_unconfirmed_drain(harness: Harness) -> None:
    harness.send("drain", "1")
    harness.wait(1)
    harness.send("undrain", "2")
    assert harness.runtime.calls == ["stop", "consume"]
    assert harness.answers == [refusal(UNDRAINED, "1"), Answer("2")]
    harness.wait(10)
    assert harness.answers == []


def test_an_undrain_of_a_worker_that_is_not_drained_is_done(harness: Harness) -> None:
    harness.send("undrain")
    assert (harness.answers, harness.runtime.calls) == ([Answer("id")], [])


def test_a_lease_expires_in_time_and_later_with_each_renewal(harness: Harness) -> None:
    harness.send("drain")
    harness.become_quiet()
    harness.wait(40)
    harness.send("drain")
    harness.become_quiet()
    harness.wait(59.9)
    assert harness.runtime.calls == ["stop"]
    harness.wait(0.2)
    assert harness.runtime.calls == ["stop", "consume"]
    assert harness.read_reports()[-1]["drain"] is None


def test_a_drain_whose_lease_expires_before_it_is_confirmed_is_refused(harness: Harness) -> None:
    harness.send("drain", lease_seconds=1)
    harness.wait(1)
    assert (harness.answers, harness.state) == ([refusal(LEASE_EXPIRED)], State.CONSUMING)


def test_the_lease_of_an_undrained_drain_does_not_end_a_later_drain(harness: Harness) -> None:
    harness.send("drain")
    harness.send("undrain")
    harness.wait(30)
    harness.send("drain")
    harness.become_quiet()
    harness.wait(31)
    assert harness.runtime.calls == ["stop", "consume", "stop"]


def test_a_leaving_worker_never_consumes_again(harness: Harness) -> None:
    harness.send("drain", "1")
    harness.protocol.begin_shutdown()
    assert harness.answers == [refusal(LEAVING, "1")]
    for verb in ("drain", "undrain"):
        harness.send(verb)
        assert harness.answers == [refusal(LEAVING)]
    harness.send("report")
    assert harness.answers == [Answer("id")]
    harness.wait(100)
    assert (harness.runtime.calls, harness.state) == (["stop"], State.LEAVING)


def test_a_worker_that_is_not_drained_stops_when_it_leaves(harness: Harness) -> None:
    harness.protocol.begin_shutdown()
    assert harness.runtime.calls == ["stop"]


def test_a_message_that_is_not_for_this_worker_is_ignored(harness: Harness) -> None:
    harness.send("drain", incarnation="another")
    harness.protocol.receive(b"?", harness.now)
    assert (harness.answers, harness.runtime.calls) == ([], [])
    assert harness.recorder.handled_commands == [("unknown", "ignored")] * 2


def test_an_unknown_command_is_refused_as_such(harness: Harness) -> None:
    harness.send("explode")
    (answer,) = harness.answers
    assert answer.result is Result.REFUSED
    assert "explode" in str(answer.reason)
    assert harness.recorder.handled_commands == [("unknown", "refused")]


def test_of_a_flood_of_commands_the_last_answers_are_kept(harness: Harness) -> None:
    for number in range(10 * ANSWERS):
        harness.send("report", str(number), installation=str(number))
    answers = harness.answers
    assert len(answers) == ANSWERS
    assert answers[-1] == refusal(TOO_MANY, str(10 * ANSWERS - 1))


def test_answers_for_a_former_channel_are_not_sent(harness: Harness) -> None:
    harness.send("report")
    harness.protocol.begin_channel()
    (report,) = harness.read_reports()
    assert report["answer"] is None


def test_reports_are_numbered(harness: Harness) -> None:
    harness.send("report", "1")
    harness.send("report", "2")
    assert [report["number"] for report in harness.read_reports()] == [2, 3]


def test_a_dependency_that_is_lost_or_reached_again_is_reported_at_once(harness: Harness) -> None:
    harness.wait(1)
    for missing in (("payments",), ("mail", "payments"), ()):
        harness.runtime.missing = missing
        (report,) = harness.read_reports()
        assert report["unavailable_dependencies"] == list(missing)
        assert harness.read_reports() == []


def test_a_report_names_no_more_dependencies_than_the_operator_accepts(harness: Harness) -> None:
    harness.runtime.missing = tuple(str(number) for number in range(100))
    (report,) = harness.read_reports()
    assert report["unavailable_dependencies"] == [str(number) for number in range(REPORT_DEPENDENCIES)]
