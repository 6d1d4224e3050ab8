"""What the pool knows of workers, and what invalidates it."""

from datetime import timedelta

import pytest

from taskqueue_operator.drain.protocol import Drain, Result, State, Verb
from taskqueue_operator.drain.removed import removed_state
from taskqueue_operator.drain.sent_command import ANSWER_TIMEOUT
from taskqueue_operator.drain.worker import OVERDUE_MARGIN, REPORT_TIMEOUT
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.drain.worker_state import RemovedState, WorkerState
from taskqueue_operator.resource.bounds import UNKNOWN_PODS

from .builders import DEPLOYMENT, EPOCH, NO_CONTAINER, START, pod, report
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


def test_a_report_that_precedes_its_pod_is_kept_and_contradicts_the_pod(scenario: DrainScenario) -> None:
    scenario.report("new", State.STARTING)
    scenario.wait(2)
    scenario.change_pod("new", **NO_CONTAINER)
    assert state(scenario, "new") is WorkerState.STARTING


def test_reports_of_pods_that_never_appear_expire(scenario: DrainScenario) -> None:
    scenario.report("elsewhere")
    scenario.wait(50)
    scenario.sync()
    scenario.change_pod("elsewhere")
    assert scenario.worker("elsewhere").report is None


def test_reports_of_pods_that_never_appear_do_not_accumulate(scenario: DrainScenario) -> None:
    for number in range(1, 100):
        scenario.pool.on_report(report("elsewhere", number), "an address", scenario.now)
        scenario.wait(15)
    scenario.pool.on_report(report("another", 1), "an address", scenario.now + timedelta(minutes=1))
    assert list(scenario.pool._early_reports) == ["another"]


def test_reports_of_unknown_pods_are_bounded_and_the_last_ones_are_kept(scenario: DrainScenario) -> None:
    for number in range(2 * UNKNOWN_PODS):
        scenario.pool.on_report(report(f"pod-{number}", 1), "an address", scenario.now)
    assert list(scenario.pool._early_reports) == [f"pod-{number}" for number in range(UNKNOWN_PODS, 2 * UNKNOWN_PODS)]


def test_ids_of_commands_cannot_be_guessed() -> None:
    ids = []
    for secret in (b"one", b"other"):
        pool = WorkerPool("default", EPOCH, START, secret)
        pool.sync(DEPLOYMENT, [pod("a")], START)
        pool.on_report(report("a", 1), "an address", START)
        ids += [pool.command("a", Verb.DRAIN, START).id for _ in range(2)]
    assert len(set(ids)) == 4


def test_reports_of_a_worker_outside_of_kubernetes_are_ignored(scenario: DrainScenario) -> None:
    scenario.pool.on_report(report("", 1), "an address", scenario.now)
    assert [worker.uid for worker in scenario.pool.active] == ["a", "b", "c"]


def test_pods_that_terminate_or_have_ended_are_no_active_workers(scenario: DrainScenario) -> None:
    inactive = scenario.change_pod("a", deleting=True) + scenario.change_pod("b", finished=True)
    del scenario.pods["c"]
    inactive += scenario.sync()
    assert [worker.uid for worker in inactive] == ["a", "b", "c"]
    assert scenario.pool.active == []


def test_no_command_is_created_for_a_worker_that_has_not_reported(scenario: DrainScenario) -> None:
    scenario.change_pod("new")
    with pytest.raises(LookupError):
        scenario.pool.command("new", Verb.DRAIN, scenario.now)


def test_every_command_has_its_own_id_and_the_token_of_the_deployment(scenario: DrainScenario) -> None:
    scenario.change_deployment(drain_token=f"{EPOCH}.4")
    first, second = (scenario.pool.command("a", Verb.DRAIN, scenario.now) for _ in range(2))
    assert first.id != second.id
    assert (first.epoch, first.seq, first.installation) == (EPOCH, 4, "default")


def test_seq_is_kept_when_the_annotation_is_removed(scenario: DrainScenario) -> None:
    scenario.change_deployment(drain_token=f"{EPOCH}.4")
    scenario.change_deployment(drain_token="")
    assert scenario.pool.seq == 4


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


def test_only_pods_that_the_scale_in_removed_are_counted() -> None:
    """A rollout that begins before the pods are gone removes others, in good order."""
    scenario = DrainScenario("abc")
    scenario.drain("a")
    scenario.begin_scale_in()
    pending = scenario.pool.pending_scale_in
    assert pending is not None
    scenario.change_deployment(replicas=2, generation=2)
    counted = {name: pending.has_removed(scenario.worker(name), scenario.deployment) for name in "ab"}
    assert counted == {"a": True, "b": True}, "b would be a fault of the operator"
    scenario.change_deployment(generation=3, template_hash="2")
    counted = {name: pending.has_removed(scenario.worker(name), scenario.deployment) for name in "ab"}
    assert counted == {"a": True, "b": False}


def test_a_new_pool_assumes_a_pending_scale_in_until_the_view_is_settled() -> None:
    pool = WorkerPool("default", EPOCH, START)
    scenario = DrainScenario(replicas=2)
    pool.sync(scenario.deployment, scenario.pods.values(), START)
    assert pool.pending_scale_in is not None
    pool.sync(scenario.deployment, [pod("a"), pod("b")], START)
    assert pool.pending_scale_in is not None, "its status still shows three"
    scenario.change_deployment(current_replicas=2)
    pool.sync(scenario.deployment, [pod("a"), pod("b")], START)
    assert pool.pending_scale_in is None


def test_a_scale_in_may_be_pending_until_the_annotation_of_another_leader_is_replaced(scenario: DrainScenario) -> None:
    scenario.change_deployment(drain_token=f"{EPOCH - 1}.3")
    assert scenario.pool.pending_scale_in is not None
    scenario.change_deployment(drain_token=f"{EPOCH}.1")
    assert scenario.pool.pending_scale_in is None


class TestPendingScaleIn:
    def test_a_scale_in_may_still_apply_until_its_condition_no_longer_holds(self, scenario: DrainScenario) -> None:
        scenario.begin_scale_in()
        assert scenario.pool.scale_in_may_still_apply(scenario.deployment)
        scenario.change_deployment(drain_token=f"{EPOCH}.2")
        assert scenario.pool.pending_scale_in is None

    def test_a_scale_in_ends_when_as_many_pods_are_left(self, scenario: DrainScenario) -> None:
        scenario.begin_scale_in()
        scenario.change_deployment(replicas=2, generation=2)
        scenario.change_deployment(observed_generation=2, current_replicas=2)
        assert scenario.pool.pending_scale_in is not None
        scenario.change_pod("a", deleting=True)
        assert scenario.pool.pending_scale_in is None

    def test_a_scale_in_does_not_end_because_replicas_were_raised_again(self, scenario: DrainScenario) -> None:
        """The ReplicaSet may still be removing pods for the number in between."""
        scenario.begin_scale_in()
        scenario.change_deployment(replicas=3, generation=3, observed_generation=3)
        assert scenario.pool.pending_scale_in is not None
        scenario.wait(10)
        scenario.sync()
        assert scenario.pool.pending_scale_in is None

    def test_a_scale_in_does_not_end_while_the_controllers_do_nothing(self, scenario: DrainScenario) -> None:
        scenario.begin_scale_in()
        scenario.change_deployment(replicas=2, generation=2)
        for observed in (1, 2):
            scenario.change_deployment(observed_generation=observed)
            scenario.wait(60)
            scenario.sync()
            assert scenario.pool.pending_scale_in is not None


def test_a_lease_is_held_for_less_than_a_minute_from_the_last_confirmed_renewal(scenario: DrainScenario) -> None:
    scenario.drain("a")
    assert scenario.worker("a").holds_lease(scenario.now + timedelta(seconds=54))
    assert not scenario.worker("a").holds_lease(scenario.now + timedelta(seconds=55))
