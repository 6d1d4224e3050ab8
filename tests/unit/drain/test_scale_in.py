"""How far replicas are reduced, and what blocks a further scale-in."""

from datetime import timedelta
from typing import Any

import pytest

from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.drain.plan import plan
from taskqueue_operator.drain.protocol import Drain, State
from taskqueue_operator.drain.replicaset_order import CANDIDATE_COST
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker import REPORT_TIMEOUT
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.workers.pod_problem import PodProblem

from .builders import EPOCH, NO_CONTAINER, pod
from .planned import Planned
from .scenario import DrainScenario

CRASHES = PodProblem("CrashLoopBackOff", "worker", "exit code 1")
BUSY: dict[str, Any] = {"state": State.DRAINING, "in_flight": 1}


@pytest.fixture
def scenario() -> DrainScenario:
    return DrainScenario()


class TestScaleIn:
    def test_a_scale_in_removes_the_drained_workers(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.drain("b", **BUSY)
        assert scenario.plan_after_costs(1).scale_in_to == 2

    def test_deletion_costs_are_written_first_if_the_order_needs_them(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        made = scenario.plan(2)
        assert (made.costs, made.scale_in_to, made.blocked_by) == ({"a": CANDIDATE_COST}, None, Blocker.COSTS)

    def test_all_removable_pods_get_the_cost_even_if_the_order_is_certain_without_it(
        self, scenario: DrainScenario
    ) -> None:
        """A pod whose container ends, starts again and becomes ready would change ranks with another one."""
        scenario.drain("a")
        scenario.wait(10)
        scenario.drain("a")
        scenario.change_pod("a", ready=False)
        assert scenario.plan(2).costs == {"a": CANDIDATE_COST}

    def test_no_costs_are_written_if_all_pods_are_removed(self, scenario: DrainScenario) -> None:
        scenario.drain("a", "b", "c")
        made = scenario.plan(0, empty=True)
        assert (made.costs, made.scale_in_to) == ({}, 0)

    def test_costs_are_cleared_on_undrain(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        assert scenario.plan_after_costs(2).scale_in_to == 2
        made = scenario.plan(3)
        assert (made.undrains, made.costs) == ("a", {"a": None})

    def test_a_foreign_cost_is_left_alone(self, scenario: DrainScenario) -> None:
        scenario.change_pod("a", cost=-5)
        scenario.change_pod("b", cost=-7)
        scenario.drain("a")
        made = scenario.plan(2)
        assert (made.costs, made.scale_in_to, made.blocked_by) == ({}, None, Blocker.REMOVAL_ORDER)

    def test_replicas_are_reduced_only_if_the_simulated_order_removes_only_removable_pods(
        self, scenario: DrainScenario
    ) -> None:
        scenario.change_pod("c", ready=False)
        scenario.drain("a")
        scenario.change_pod("a", ready=False)
        made = scenario.plan_after_costs(2)
        assert (made.scale_in_to, made.blocked_by) == (None, Blocker.REMOVAL_ORDER), "readiness may be outdated"
        scenario.wait(10)
        scenario.drain("a")
        assert scenario.plan_after_costs(2).scale_in_to == 2

    def test_drains_are_confirmed_once_more_before_a_scale_in(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        assert scenario.plan_after_costs(2).scale_in_to == 2
        scenario.wait(4)
        made = scenario.plan(2)
        assert (made.drains, made.scale_in_to, made.blocked_by) == ("a", None, Blocker.ANSWERS)
        scenario.send("a")
        assert scenario.plan(2).scale_in_to is None
        scenario.answer("a", State.DRAINED)
        assert scenario.plan(2).scale_in_to == 2

    def test_workers_that_have_answered_wait_two_seconds_for_the_others(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.send("b")
        assert scenario.plan_after_costs(1).blocked_by is Blocker.ANSWERS
        scenario.wait(2)
        assert scenario.plan(1).scale_in_to == 2

    def test_a_worker_that_no_longer_answers_does_not_delay_the_others(self, scenario: DrainScenario) -> None:
        scenario.drain("a", "b")
        scenario.plan_after_costs(1)
        scenario.wait(4)
        scenario.send("a")
        scenario.send("b")
        scenario.answer("a", State.DRAINED)
        scenario.wait(6)
        scenario.send("b")
        scenario.drain("a")
        unready_first = scenario.plan_after_costs(1)
        assert unready_first.scale_in_to is None, "b may be unready, so that it would be removed first"
        scenario.change_pod("a", ready=False)
        scenario.wait(2)
        assert scenario.plan_after_costs(1).scale_in_to == 2

    @pytest.mark.parametrize(
        "unsettled",
        [
            {"observed_generation": 0},
            {"current_replicas": 4},
            {"current_replicas": 2},
            {"replicas": 4},
            {"replicas": 2},
        ],
        ids=["not observed", "one more in status", "one fewer in status", "one to create", "one to remove"],
    )
    def test_replicas_are_reduced_only_from_a_settled_view(
        self, scenario: DrainScenario, unsettled: dict[str, int]
    ) -> None:
        scenario.drain("a")
        assert scenario.plan_after_costs(1).scale_in_to == 2
        updated = {"updated": unsettled["current_replicas"]} if "current_replicas" in unsettled else {}
        scenario.change_deployment(**unsettled, **updated)
        made = scenario.plan(1)
        assert (made.scale_in_to, made.blocked_by) == (None, Blocker.SETTLING)

    def test_a_worker_is_not_removed_while_it_does_not_answer(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.plan_after_costs(2)
        scenario.wait(50)
        for name in "bc":
            scenario.report(name)
        assert scenario.plan(2).scale_in_to is None

    def test_pods_rejected_by_a_quota_are_removed_first(self, scenario: DrainScenario) -> None:
        quota = "exceeded quota: compute, requested: pods=1, limited: pods=3"
        scenario.change_deployment(replicas=8, replica_failure=quota)
        assert (scenario.candidates(3), scenario.plan(3).scale_in_to) == ("", 3)

    def test_a_new_leader_removes_no_pod_without_a_container_before_every_worker_had_time_to_report(
        self, scenario: DrainScenario
    ) -> None:
        scenario.pool = WorkerPool("default", EPOCH, scenario.now)
        scenario.change_pod("a", **NO_CONTAINER)
        assert scenario.plan_after_costs(2).scale_in_to is None
        scenario.wait(20)
        assert scenario.plan_after_costs(2).scale_in_to == 2

    def test_replicas_are_restored_when_leases_end_before_the_pods(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.plan_after_costs(2)
        scenario.begin_scale_in()
        scenario.change_deployment(replicas=2, generation=2)
        assert scenario.plan(2).restore_to is None
        scenario.wait(60)
        scenario.report("a")
        assert scenario.plan(2).restore_to == 3


class TestZero:
    def test_the_last_worker_is_removed_only_after_the_queue_was_seen_empty(self, scenario: DrainScenario) -> None:
        scenario.drain("a", "b", "c")
        assert scenario.plan_after_costs(0).scale_in_to == 1

    def test_the_last_worker_is_removed_only_by_a_reading_younger_than_the_last_drained_report(
        self, scenario: DrainScenario
    ) -> None:
        scenario.drain("a", "b")
        seen = scenario.now
        scenario.wait(1)
        scenario.drain("a", "b", "c")
        for empty_at, to_zero in ((seen, False), (scenario.now, False), (scenario.now + timedelta(seconds=1), True)):
            made = Planned(plan(scenario.context(0, QueueState(running=True, empty_at=empty_at))))
            assert (made.scale_in_to == 0) == to_zero

    def test_the_last_worker_is_not_sent_renewals_all_the_time(self) -> None:
        scenario = DrainScenario("a")
        scenario.drain("a")
        scenario.wait(10)
        scenario.report("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
        made = scenario.plan(0)
        assert (made.drains, made.scale_in_to, made.blocked_by) == ("", None, Blocker.EMPTINESS)

    def test_zero_is_reached_only_after_every_worker_is_drained(self, scenario: DrainScenario) -> None:
        scenario.drain("a", "b")
        scenario.drain("c", **BUSY)
        assert scenario.plan_after_costs(0, empty=True).scale_in_to == 1


class TestCrashLoops:
    def crash(self, scenario: DrainScenario, name: str, *, stopped: bool) -> None:
        scenario.wait(1)
        restarts = scenario.pods[name].restarts + (not stopped)
        scenario.change_pod(name, container_stopped=stopped, ready=False, problem=CRASHES, restarts=restarts)

    def test_a_crash_looping_worker_is_removed_first(self, scenario: DrainScenario) -> None:
        self.crash(scenario, "b", stopped=True)
        assert (scenario.candidates(2), scenario.plan_after_costs(2).scale_in_to) == ("b", 2)

    def test_a_crash_looping_worker_protects_no_busy_one_and_drains_no_other(self, scenario: DrainScenario) -> None:
        """While it runs for a moment it ranks first in the ReplicaSet's order, so no other worker is removed."""
        self.crash(scenario, "b", stopped=True)
        self.crash(scenario, "b", stopped=False)
        scenario.report("a", idle_seconds=1000)
        assert scenario.candidates(2) == "b"
        made = scenario.plan(2)
        assert "a" not in made.drains
        assert made.scale_in_to is None

    def test_a_crash_looping_worker_does_not_block_forever(self, scenario: DrainScenario) -> None:
        for _ in range(3):
            self.crash(scenario, "b", stopped=False)
            assert scenario.plan(2).scale_in_to is None
            self.crash(scenario, "b", stopped=True)
        assert scenario.plan_after_costs(2).scale_in_to == 2


class TestRollouts:
    def test_during_a_rollout_no_worker_is_removed_or_stays_drained(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.plan_after_costs(1)
        scenario.change_pod("d", replica_set="new")
        scenario.change_deployment(current_replicas=4, updated=1)
        made = scenario.plan(1)
        assert (made.undrains, made.drains, made.scale_in_to, made.blocked_by) == ("a", "", None, Blocker.ROLLOUT)

    def test_a_new_replica_set_without_pods_is_a_rollout_too(self, scenario: DrainScenario) -> None:
        scenario.drain("a")
        scenario.change_deployment(updated=0)
        assert scenario.plan(1).blocked_by is Blocker.ROLLOUT

    def test_a_stuck_rollout_allows_scale_in_if_the_first_pods_of_each_replica_set_are_removable(self) -> None:
        scenario = DrainScenario("abcd", progress_deadline_exceeded=True, updated=1)
        scenario.pods["d"] = pod("d", replica_set="new")
        scenario.drain("a", "b")
        assert scenario.plan_after_costs(2).scale_in_to is None, "a busy worker of the new one could be removed"
        scenario.drain("d")
        assert scenario.plan_after_costs(1).scale_in_to == 2


@pytest.mark.parametrize(("names", "desired"), [("abc", 3), ("", 0)], ids=["beside others", "alone, when paused"])
def test_a_worker_that_has_never_consumed_is_removed_without_an_answer(names: str, desired: int) -> None:
    scenario = DrainScenario(names)
    scenario.change_pod("z", ready=False, never_ready=True)
    count = len(names) + 1
    scenario.change_deployment(replicas=count, current_replicas=count, updated=count)
    assert scenario.plan_after_costs(desired, empty=not names).scale_in_to is None
    scenario.wait(REPORT_TIMEOUT.total_seconds())
    for name in names:
        scenario.report(name)
    planned = scenario.plan_after_costs(desired, empty=not names)
    assert (planned.scale_in_to, planned.drains) == (desired, "")
