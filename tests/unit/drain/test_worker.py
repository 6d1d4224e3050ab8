"""What reports and the API say of one worker, and what invalidates it."""

from datetime import timedelta

import pytest

from taskqueue_operator.drain.protocol import Drain, Result, State, Verb
from taskqueue_operator.drain.removed import removed_state
from taskqueue_operator.drain.sent_command import ANSWER_TIMEOUT
from taskqueue_operator.drain.worker import OVERDUE_MARGIN, REPORT_TIMEOUT
from taskqueue_operator.drain.worker_state import RemovedState, WorkerState

from .builders import EPOCH, NO_CONTAINER, report
from .scenario import DrainScenario


@pytest.fixture
def scenario() -> DrainScenario:
    return DrainScenario()


def state(scenario: DrainScenario, name: str) -> WorkerState:
    return scenario.worker(name).state(scenario.now)


def removable(scenario: DrainScenario, name: str) -> bool:
    return scenario.worker(name).is_removable(scenario.now)


def test_a_report_never_replaces_one_with_a_higher_number(scenario: DrainScenario) -> None:
    scenario.pool.on_report(report("a", 9, State.DRAINING), "an address", scenario.now)
    scenario.pool.on_report(report("a", 8, State.CONSUMING), "another address", scenario.now)
    assert state(scenario, "a") is WorkerState.DRAINING
    assert scenario.worker("a").address == "an address"


def test_a_new_incarnation_voids_all_knowledge_of_the_former_one(scenario: DrainScenario) -> None:
    scenario.drain("a")
    scenario.pool.on_report(report("a", 1, State.STARTING, incarnation="1" * 32), "an address", scenario.now)
    worker = scenario.worker("a")
    assert (state(scenario, "a"), removable(scenario, "a"), worker.last_command, worker.drained_at) == (
        WorkerState.STARTING,
        False,
        None,
        None,
    )
    assert scenario.pool.command("a", Verb.DRAIN, scenario.now).incarnation == "1" * 32


def test_a_late_answer_of_a_former_incarnation_confirms_nothing(scenario: DrainScenario) -> None:
    scenario.send("a")
    scenario.pool.on_report(report("a", 1, incarnation="1" * 32), "an address", scenario.now)
    scenario.answer("a", State.DRAINED)
    assert not removable(scenario, "a")


def test_late_reports_of_a_former_incarnation_do_not_suppress_reports_of_the_current_one(
    scenario: DrainScenario,
) -> None:
    for number in range(1, 4):
        scenario.pool.on_report(report("a", number, State.DRAINED, incarnation="1" * 32), "an address", scenario.now)
        scenario.report("a", State.CONSUMING)
    scenario.pool.on_report(report("a", 2, State.DRAINED, incarnation="1" * 32), "an address", scenario.now)
    assert state(scenario, "a") is WorkerState.CONSUMING


def test_a_worker_is_removable_if_it_answered_drained_to_a_command_sent_less_than_five_seconds_ago(
    scenario: DrainScenario,
) -> None:
    scenario.send("a")
    scenario.wait(4)
    scenario.answer("a", State.DRAINED)
    assert removable(scenario, "a")
    scenario.wait(1)
    assert not removable(scenario, "a")


def test_a_drained_worker_is_not_removable_without_an_answer(scenario: DrainScenario) -> None:
    scenario.send("a")
    scenario.report("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
    assert state(scenario, "a") is WorkerState.DRAINED
    assert not removable(scenario, "a")


def test_an_answer_to_an_earlier_command_confirms_nothing(scenario: DrainScenario) -> None:
    scenario.send("a")
    earlier = scenario.commands["a"]
    scenario.send("a")
    scenario.commands["a"] = earlier
    scenario.answer("a", State.DRAINED)
    assert not removable(scenario, "a")


@pytest.mark.parametrize("drain", [Drain("default", EPOCH - 1, 1), Drain("another", EPOCH, 1), None])
def test_only_a_worker_drained_in_this_epoch_and_by_this_installation_is_removable(
    scenario: DrainScenario, drain: Drain | None
) -> None:
    scenario.send("a")
    scenario.answer("a", State.DRAINED, drain=drain)
    assert not removable(scenario, "a")


@pytest.mark.parametrize("state", [State.DRAINING, State.CONSUMING, State.STARTING, State.LEAVING])
def test_a_contrary_later_report_voids_the_confirmation(scenario: DrainScenario, state: State) -> None:
    scenario.drain("a")
    scenario.report("a", state)
    assert not removable(scenario, "a")


def test_a_refusal_confirms_nothing(scenario: DrainScenario) -> None:
    scenario.drain("a", state=State.DRAINED, result=Result.REFUSED)
    assert not removable(scenario, "a")


def test_a_worker_is_not_removable_from_the_moment_it_is_sent_an_undrain(scenario: DrainScenario) -> None:
    scenario.drain("a")
    scenario.send("a", Verb.UNDRAIN)
    assert not removable(scenario, "a")


def test_a_restart_that_the_api_shows_voids_the_confirmation(scenario: DrainScenario) -> None:
    scenario.drain("a")
    scenario.change_pod("a", restarts=1)
    assert not removable(scenario, "a")


def test_a_worker_that_has_not_reported_for_45_seconds_is_silent(scenario: DrainScenario) -> None:
    scenario.wait(44.9)
    assert state(scenario, "a") is WorkerState.CONSUMING
    scenario.wait(0.1)
    assert state(scenario, "a") is WorkerState.SILENT


def test_a_worker_that_never_reported_is_silent_after_45_seconds(scenario: DrainScenario) -> None:
    scenario.change_pod("new")
    assert state(scenario, "new") is WorkerState.STARTING
    scenario.wait(45)
    assert state(scenario, "new") is WorkerState.SILENT


def test_a_pod_without_a_container_is_removable(scenario: DrainScenario) -> None:
    scenario.wait(1)
    scenario.change_pod("a", **NO_CONTAINER)
    assert state(scenario, "a") is WorkerState.NO_CONTAINER
    assert removable(scenario, "a")


def test_a_later_report_contradicts_the_api(scenario: DrainScenario) -> None:
    scenario.wait(1)
    scenario.change_pod("a", **NO_CONTAINER)
    scenario.pool.on_report(report("a", 1, State.STARTING, incarnation="1" * 32), "an address", scenario.now)
    assert state(scenario, "a") is WorkerState.STARTING
    assert not removable(scenario, "a")


def test_the_state_of_a_removed_worker_is_known() -> None:
    scenario = DrainScenario("abcdef")
    scenario.drain("a")
    scenario.drain("b", state=State.DRAINING, in_flight=1)
    scenario.report("c", in_flight=1)
    scenario.wait(1)
    scenario.change_pod("e", **NO_CONTAINER)
    states = {name: removed_state(scenario.worker(name), scenario.now) for name in "abcde"}
    assert states == {
        "a": RemovedState.DRAINED,
        "b": RemovedState.DRAINING,
        "c": RemovedState.BUSY,
        "d": RemovedState.UNKNOWN,
        "e": RemovedState.NO_CONTAINER,
    }


@pytest.mark.parametrize(("before", "in_flight", "removed"), [("drained", 0, "drained"), ("consuming", 1, "busy")])
def test_a_report_of_leaving_does_not_hide_the_state_before_it(
    scenario: DrainScenario, before: State, in_flight: int, removed: str
) -> None:
    scenario.report("a", State(before))
    scenario.report("a", State.LEAVING, in_flight=in_flight)
    assert removed_state(scenario.worker("a"), scenario.now) == removed


LIMIT = 300 + OVERDUE_MARGIN.total_seconds()
"""Run time from which a task counts as one that never ends."""


@pytest.mark.parametrize(
    ("state", "in_flight", "oldest_seconds", "draining_seconds", "overdue"),
    [
        (State.DRAINING, 1, LIMIT + 1, 5, True),
        (State.DRAINING, 1, LIMIT - 1, 400, False),
        (State.DRAINING, 2, LIMIT + 1, LIMIT - 1, False),
        (State.DRAINING, 2, 700, LIMIT + 1, True),
        (State.CONSUMING, 1, LIMIT + 1, 5, False),
        (State.DRAINING, 1, None, 400, False),
    ],
    ids=["one task", "in time", "another one may be in time", "all of them", "it may start a task", "unknown"],
)
def test_a_draining_worker_whose_tasks_never_end_is_removable(  # noqa: PLR0913  the fields of a report
    scenario: DrainScenario,
    state: State,
    in_flight: int,
    oldest_seconds: float | None,
    draining_seconds: float,
    *,
    overdue: bool,
) -> None:
    fields = {"in_flight": in_flight, "oldest_seconds": oldest_seconds}
    scenario.drain("a", state=state, **fields)
    scenario.wait(draining_seconds)
    scenario.drain("a", state=state, **fields)
    assert removable(scenario, "a") is overdue
    if overdue:
        assert removed_state(scenario.worker("a"), scenario.now) is RemovedState.OVERDUE
    scenario.wait(ANSWER_TIMEOUT.total_seconds())
    assert not removable(scenario, "a")


def test_a_worker_that_has_never_consumed_is_removable(scenario: DrainScenario) -> None:
    """It serves its endpoints, was never ready and has not reported: the broker refuses its credentials, say."""
    scenario.change_pod("d", ready=False, never_ready=True)
    scenario.wait(REPORT_TIMEOUT.total_seconds() - 1)
    assert not removable(scenario, "d")
    scenario.wait(1)
    assert removable(scenario, "d")
    assert removed_state(scenario.worker("d"), scenario.now) is RemovedState.NEVER_CONSUMED
    scenario.report("d")
    assert not removable(scenario, "d")


def test_a_silent_worker_that_may_have_consumed_is_not_removable(scenario: DrainScenario) -> None:
    scenario.change_pod("d", ready=False)
    scenario.wait(600)
    assert not removable(scenario, "d")


def test_a_lease_is_held_for_less_than_a_minute_from_the_last_confirmed_renewal(scenario: DrainScenario) -> None:
    scenario.drain("a")
    assert scenario.worker("a").holds_lease(scenario.now + timedelta(seconds=54))
    assert not scenario.worker("a").holds_lease(scenario.now + timedelta(seconds=55))
