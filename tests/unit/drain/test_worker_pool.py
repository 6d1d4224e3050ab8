"""What the pool knows of workers, and what invalidates it."""

from datetime import timedelta

import pytest

from taskqueue_operator.drain.protocol import State, Verb
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.drain.worker_state import WorkerState
from taskqueue_operator.resource.bounds import UNKNOWN_PODS

from .builders import DEPLOYMENT, EPOCH, NO_CONTAINER, START, pod, report
from .scenario import DrainScenario


@pytest.fixture
def scenario() -> DrainScenario:
    return DrainScenario()


def test_a_report_that_precedes_its_pod_is_kept_and_contradicts_the_pod(scenario: DrainScenario) -> None:
    scenario.report("new", State.STARTING)
    scenario.wait(2)
    scenario.change_pod("new", **NO_CONTAINER)
    assert scenario.worker("new").state(scenario.now) is WorkerState.STARTING


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
