"""Scale-in of Plain workers: with evidence of idleness, and at a limited rate without it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.drain.consumers import IdleEvidence
from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.plain import UNPROVEN_REMOVAL_INTERVAL, with_idle_evidence
from taskqueue_operator.drain.plan import plan
from taskqueue_operator.drain.removed import removed_state
from taskqueue_operator.drain.replicaset_order import CANDIDATE_COST
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.drain.worker_state import RemovedState
from taskqueue_operator.workers.pod_problem import PodProblem

from .builders import DEPLOYMENT, EPOCH, NO_CONTAINER, START, TOKEN, pod
from .planned import Planned
from .test_replicaset_order import removed

CRASHES = PodProblem("CrashLoopBackOff", "worker", "exit code 1")
IDLE_FOR = timedelta(seconds=7)


class PlainScenario:
    """Plain workers are named by letters, have been running for long and send no reports."""

    def __init__(self, names: str = "abc", *, acks_late: bool = True) -> None:
        self.acks_late = acks_late
        self.now = START
        self.pool = WorkerPool("default", EPOCH, START)
        self.pods = {name: pod(name) for name in names}
        count = len(names)
        self.deployment = replace(DEPLOYMENT, drain_token=TOKEN, replicas=count, current_replicas=count, updated=count)
        self.sync()
        self.wait(60)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def sync(self) -> list[RemovedState]:
        """Show the pool what the API shows; returns the states of the workers that are no longer active."""
        inactive = self.pool.sync(self.deployment, self.pods.values(), self.now)
        return [removed_state(worker, START) for worker in inactive]

    def change_pod(self, name: str, **fields: Any) -> None:  # noqa: ANN401  any field of a pod
        self.pods[name] = replace(self.pods[name], **fields)
        self.sync()

    def plan(
        self, desired: int, *, idle: Iterable[str] = (), unknown: Iterable[str] = (), empty_at: datetime | None = None
    ) -> Planned:
        self.sync()
        queue = QueueState(running=True, empty_at=empty_at)
        evidence = IdleEvidence(dict.fromkeys(idle, self.now - IDLE_FOR), frozenset(unknown))
        return self.plan_with(evidence if self.acks_late else None, desired, queue)

    def plan_with(self, evidence: IdleEvidence | None, desired: int, queue: QueueState) -> Planned:
        context = DrainContext(self.pool, self.deployment, queue, desired, self.now)
        return Planned(plan(with_idle_evidence(context, evidence)))

    def plan_after_costs(self, desired: int, **evidence: Any) -> Planned:  # noqa: ANN401  as for `plan`
        """Write the deletion costs of a plan, if it has any, and plan again."""
        for uid, cost in self.plan(desired, **evidence).costs.items():
            self.pods[uid] = replace(self.pods[uid], cost=cost, cost_is_managed=cost is not None)
        return self.plan(desired, **evidence)

    def scale_in(self, made: Planned) -> None:
        """Write the replicas of a plan; the controllers have not acted yet."""
        assert made.scale_in_to is not None
        self.pool.begin_scale_in(self.deployment.generation, self.deployment.drain_token, self.now)
        self.deployment = replace(self.deployment, generation=2, observed_generation=1, replicas=made.scale_in_to)

    def remove(self, *names: str) -> list[RemovedState]:
        for name in names:
            del self.pods[name]
        count = len(self.pods)
        self.deployment = replace(self.deployment, observed_generation=2, current_replicas=count, updated=count)
        return self.sync()


@pytest.fixture
def scenario() -> PlainScenario:
    return PlainScenario()


class TestKnownToBeIdle:
    def test_idle_workers_are_removed_by_their_cost_and_are_sent_no_command(self, scenario: PlainScenario) -> None:
        made = scenario.plan(1, idle="bc")
        assert (made.costs, made.scale_in_to) == ({"b": CANDIDATE_COST, "c": CANDIDATE_COST}, None)
        made = scenario.plan_after_costs(1, idle="bc")
        assert (made.costs, made.scale_in_to) == ({}, 1)
        assert (made.workers(), scenario.plan(0).workers()) == ([], [])

    def test_only_idle_workers_are_removed(self, scenario: PlainScenario) -> None:
        assert scenario.plan_after_costs(0, idle="b").scale_in_to == 2
        scenario.change_pod("b", cost=None, cost_is_managed=False)
        made = scenario.plan(0)
        assert (made.scale_in_to, made.costs, made.blocked_by) == (None, {}, Blocker.WORKERS)

    def test_only_surplus_workers_are_removed(self, scenario: PlainScenario) -> None:
        assert list(scenario.plan(2, idle="abc").costs) == ["a"]
        assert scenario.plan(3, idle="abc").costs == {}

    def test_a_candidate_stays_one_while_it_is_idle(self, scenario: PlainScenario) -> None:
        scenario.change_pod("c", cost=CANDIDATE_COST, cost_is_managed=True)
        assert scenario.plan(2, idle="abc").scale_in_to == 2

    def test_the_cost_of_a_worker_that_became_busy_is_cleared(self, scenario: PlainScenario) -> None:
        scenario.change_pod("c", cost=CANDIDATE_COST, cost_is_managed=True)
        assert scenario.plan(2).costs == {"c": None}

    def test_no_worker_is_removed_without_a_leader_of_the_queue(self, scenario: PlainScenario) -> None:
        evidence = IdleEvidence({"a": scenario.now - IDLE_FOR})
        made = scenario.plan_with(evidence, 1, QueueState(running=False))
        assert (made.scale_in_to, made.costs, made.blocked_by) == (None, {}, Blocker.QUEUE)

    def test_evidence_from_before_the_start_of_a_container_does_not_count(self, scenario: PlainScenario) -> None:
        scenario.change_pod("a", restarts=1)
        assert scenario.plan(2, idle="a").costs == {}
        scenario.wait(7)
        assert scenario.plan(2, idle="a").costs == {"a": CANDIDATE_COST}

    def test_the_last_worker_is_removed_only_if_the_queue_was_seen_empty_while_all_workers_were_idle(
        self, scenario: PlainScenario
    ) -> None:
        assert scenario.plan(0, idle="abc").scale_in_to == 1
        assert scenario.plan(0, idle="abc", empty_at=scenario.now - IDLE_FOR).scale_in_to == 1
        assert scenario.plan(0, idle="abc", empty_at=scenario.now - timedelta(seconds=6)).scale_in_to == 0

    def test_a_crashing_worker_is_removed_first_and_does_not_replace_a_working_one(
        self, scenario: PlainScenario
    ) -> None:
        scenario.change_pod("b", problem=CRASHES, restarts=3)
        scenario.wait(10)
        assert list(scenario.plan(2, idle="abc").costs) == ["b"]
        assert scenario.plan(2, idle="ac").costs == {}
        scenario.change_pod("a", problem=CRASHES)
        assert list(scenario.plan(2, idle="abc").costs) == ["a"], "only surplus workers are removed"

    def test_a_pod_without_a_container_needs_no_evidence(self, scenario: PlainScenario) -> None:
        scenario.wait(1)
        scenario.change_pod("b", phase="Pending", assigned=False, **NO_CONTAINER)
        assert scenario.plan_after_costs(2).scale_in_to == 2

    def test_no_worker_is_removed_during_a_rollout(self, scenario: PlainScenario) -> None:
        scenario.change_pod("a", replica_set="new")
        made = scenario.plan(1, idle="abc")
        assert (made.scale_in_to, made.blocked_by) == (None, Blocker.ROLLOUT)

    def test_unknown_workers_are_named(self, scenario: PlainScenario) -> None:
        assert scenario.plan(1, unknown="ac").unreported_pods == "ac"
        assert scenario.plan(1, idle="abc").unreported_pods == ""

    def test_the_state_of_a_removed_worker_follows_from_the_evidence(self, scenario: PlainScenario) -> None:
        scenario.scale_in(scenario.plan_after_costs(1, idle="ab"))
        assert scenario.remove("a", "b") == [RemovedState.IDLE, RemovedState.IDLE]
        assert scenario.remove("c") == [RemovedState.UNKNOWN]


class TestPendingScaleIn:
    def test_evidence_that_becomes_old_restores_no_replicas(self, scenario: PlainScenario) -> None:
        scenario.scale_in(scenario.plan_after_costs(2, idle="a"))
        scenario.wait(20)
        made = scenario.plan(2)
        assert (made.restore_to, made.blocked_by) == (None, Blocker.REMOVAL)

    def test_replicas_are_restored_if_the_controllers_do_not_act_for_long(self, scenario: PlainScenario) -> None:
        scenario.scale_in(scenario.plan_after_costs(2, idle="a"))
        scenario.wait(55)
        assert scenario.plan(2).restore_to == 3


class TestWithoutEvidence:
    """Without late acknowledgements no worker is known to be idle: only the grace period protects its task."""

    @pytest.fixture
    def scenario(self) -> PlainScenario:
        return PlainScenario(acks_late=False)

    def test_workers_are_removed_one_by_one(self, scenario: PlainScenario) -> None:
        made = scenario.plan_after_costs(0)
        assert made.scale_in_to == 2
        scenario.scale_in(made)
        assert scenario.remove("a") == [RemovedState.UNKNOWN]
        assert scenario.plan(0).blocked_by is Blocker.WORKERS
        scenario.wait(UNPROVEN_REMOVAL_INTERVAL.total_seconds())
        assert scenario.plan_after_costs(0).scale_in_to == 1

    def test_no_worker_is_removed_right_after_the_start_of_an_operator(self) -> None:
        scenario = PlainScenario(acks_late=False)
        scenario.pool = WorkerPool("default", EPOCH, scenario.now)
        assert scenario.plan(0).costs == {}

    def test_the_last_worker_is_removed_when_the_queue_was_seen_empty(self) -> None:
        scenario = PlainScenario("a", acks_late=False)
        assert scenario.plan(0).scale_in_to is None
        assert scenario.plan(0, empty_at=scenario.now).scale_in_to == 0

    def test_the_candidate_is_the_first_in_the_order_of_the_replica_set(self, scenario: PlainScenario) -> None:
        scenario.change_pod("c", ready=False)
        assert list(scenario.plan(0).costs) == ["c"]

    def test_no_worker_is_named(self, scenario: PlainScenario) -> None:
        assert scenario.plan(0).unreported_pods == ""


@given(st.data(), st.booleans())
def test_the_replica_set_removes_only_idle_workers_and_at_most_one_without_evidence(
    data: st.DataObject,
    acks_late: bool,  # noqa: FBT001  hypothesis fills it in
) -> None:
    scenario = PlainScenario("abcdef", acks_late=acks_late)
    names = st.sets(st.sampled_from("abcdef"))
    stopped, unready, idle = data.draw(names), data.draw(names), data.draw(names)
    for name in "abcdef":
        foreign = data.draw(st.sampled_from([None, None, -5, 5]))
        scenario.change_pod(name, cost=foreign, **(NO_CONTAINER if name in stopped else {"ready": name not in unready}))
    scenario.wait(20)
    desired = data.draw(st.integers(0, 6))
    made = scenario.plan_after_costs(desired, idle=idle, empty_at=data.draw(st.sampled_from([None, scenario.now])))
    if made.scale_in_to is None:
        return
    gone = removed(list(scenario.pods.values()), 6 - made.scale_in_to, Random(data.draw(st.integers())))
    unproven = {pod.uid for pod in gone} - stopped - (idle if acks_late else set())
    assert len(unproven) <= (0 if acks_late else 1)
    assert made.scale_in_to >= desired
