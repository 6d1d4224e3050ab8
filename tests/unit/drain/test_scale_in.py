"""How far the number of replicas goes down, and what it waits for."""

from datetime import timedelta
from typing import Any

import pytest

from taskqueue_operator.drain.context import DrainContext, QueueState
from taskqueue_operator.drain.plan import plan
from taskqueue_operator.drain.protocol import Drain, State
from taskqueue_operator.drain.replicaset_order import COST
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.workers.api_objects import PodProblem

from .stage import BARE, EPOCH, Stage, names, pod

CRASHES = PodProblem("CrashLoopBackOff", "worker", "exit code 1")
BUSY: dict[str, Any] = {"state": State.DRAINING, "in_flight": 1}


@pytest.fixture
def stage() -> Stage:
    return Stage()


class TestLowering:
    def test_by_those_that_are_drained(self, stage: Stage) -> None:
        stage.drain("a")
        stage.drain("b", **BUSY)
        assert stage.priced(1).lower_to == 2

    def test_deletion_costs_are_written_first_when_the_order_needs_them(self, stage: Stage) -> None:
        stage.drain("a")
        made = stage.plan(2)
        assert (dict(made.costs), made.lower_to, made.waiting_for) == ({"a": COST}, None, Blocker.COSTS)

    def test_all_who_go_carry_the_cost_even_where_the_order_is_sure_without(self, stage: Stage) -> None:
        """One whose container ends, starts anew and is ready by the time would change places with another."""
        stage.drain("a")
        stage.wait(10)
        stage.drain("a")
        stage.show("a", ready=False)
        assert dict(stage.plan(2).costs) == {"a": COST}

    def test_no_costs_are_written_when_all_go(self, stage: Stage) -> None:
        stage.drain("a", "b", "c")
        made = stage.plan(0, empty=True)
        assert (made.costs, made.lower_to) == ({}, 0)

    def test_costs_are_cleared_on_undrain(self, stage: Stage) -> None:
        stage.drain("a")
        assert stage.priced(2).lower_to == 2
        made = stage.plan(3)
        assert (names(made.undrain), dict(made.costs)) == ("a", {"a": None})

    def test_a_cost_written_by_somebody_else_is_left_alone(self, stage: Stage) -> None:
        stage.show("a", cost=-5)
        stage.show("b", cost=-7)
        stage.drain("a")
        made = stage.plan(2)
        assert (dict(made.costs), made.lower_to, made.waiting_for) == ({}, None, Blocker.ORDER)

    def test_only_if_the_simulated_order_removes_none_but_removable_ones(self, stage: Stage) -> None:
        stage.show("c", ready=False)
        stage.drain("a")
        stage.show("a", ready=False)
        made = stage.priced(2)
        assert (made.lower_to, made.waiting_for) == (None, Blocker.ORDER)  # it may have been of before
        stage.wait(10)
        stage.drain("a")
        assert stage.priced(2).lower_to == 2

    def test_once_more_renewed_before(self, stage: Stage) -> None:
        stage.drain("a")
        assert stage.priced(2).lower_to == 2
        stage.wait(4)
        made = stage.plan(2)
        assert (names(made.renew), made.lower_to, made.waiting_for) == ("a", None, Blocker.ANSWERS)
        stage.tell("a")
        assert stage.plan(2).lower_to is None
        stage.answer("a", State.DRAINED)
        assert stage.plan(2).lower_to == 2

    def test_those_who_have_answered_wait_two_seconds_for_the_others(self, stage: Stage) -> None:
        stage.drain("a")
        stage.tell("b")
        assert stage.priced(1).waiting_for is Blocker.ANSWERS
        stage.wait(2)
        assert stage.plan(1).lower_to == 2

    def test_who_does_not_answer_any_more_does_not_hold_up_the_others(self, stage: Stage) -> None:
        stage.drain("a", "b")
        stage.priced(1)
        stage.wait(4)
        stage.tell("a")
        stage.tell("b")
        stage.answer("a", State.DRAINED)
        stage.wait(6)
        stage.tell("b")  # as is due
        stage.drain("a")
        assert stage.priced(1).lower_to is None  # by what is known it is not ready, and would be removed first
        stage.show("a", ready=False)
        stage.wait(2)
        assert stage.priced(1).lower_to == 2

    @pytest.mark.parametrize(
        "unsettled",
        [{"observed_generation": 0}, {"live": 4}, {"live": 2}, {"replicas": 4}, {"replicas": 2}],
        ids=["not observed", "one more by status", "one fewer by status", "one to come", "one to go"],
    )
    def test_only_from_a_settled_view(self, stage: Stage, unsettled: dict[str, int]) -> None:
        stage.drain("a")
        assert stage.priced(1).lower_to == 2
        updated = {"updated": unsettled["live"]} if "live" in unsettled else {}
        stage.turn(**unsettled, **updated)
        made = stage.plan(1)
        assert (made.lower_to, made.waiting_for) == (None, Blocker.SETTLING)

    def test_never_while_the_worker_answers_nothing(self, stage: Stage) -> None:
        stage.drain("a")
        stage.priced(2)
        stage.wait(50)
        for name in "bc":
            stage.say(name)
        assert stage.plan(2).lower_to is None

    def test_pods_that_a_quota_refuses_are_the_first_to_go(self, stage: Stage) -> None:
        stage.turn(replicas=8, refusal="exceeded quota: compute, requested: pods=1, limited: pods=3")
        made = stage.plan(3)
        assert (made.drain, made.lower_to) == ((), 3)

    def test_a_fresh_operator_trusts_no_empty_pod_before_every_worker_had_time_to_report(self, stage: Stage) -> None:
        stage.crew = WorkerPool("default", EPOCH, stage.now)
        stage.show("a", **BARE)
        assert stage.priced(2).lower_to is None
        stage.wait(20)
        assert stage.priced(2).lower_to == 2

    def test_comes_back_when_leases_end_before_the_pods(self, stage: Stage) -> None:
        stage.drain("a")
        stage.priced(2)
        stage.crew.begin_scale_in(stage.deployment, stage.now)
        stage.turn(replicas=2, generation=2)
        assert stage.plan(2).restore_to is None
        stage.wait(60)
        stage.say("a")
        assert stage.plan(2).restore_to == 3


class TestZero:
    def test_only_after_the_queue_was_seen_empty(self, stage: Stage) -> None:
        stage.drain("a", "b", "c")
        assert stage.priced(0).lower_to == 1

    def test_only_by_evidence_younger_than_the_last_drained(self, stage: Stage) -> None:
        stage.drain("a", "b")
        seen = stage.now
        stage.wait(1)
        stage.drain("a", "b", "c")
        for evidence, to in ((seen, None), (stage.now, None), (stage.now + timedelta(seconds=1), 0)):
            stage.show()
            queue = QueueState(running=True, empty_at=evidence)
            made = plan(DrainContext(stage.crew, stage.deployment, queue, 0, stage.now))
            assert made.lower_to == to or (to is None and made.lower_to != 0)

    def test_the_last_one_waits_without_renewing_all_the_time(self) -> None:
        stage = Stage("a")
        stage.drain("a")
        stage.wait(10)
        stage.say("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
        made = stage.plan(0)
        assert (made.renew, made.lower_to, made.waiting_for) == ((), None, Blocker.EMPTINESS)

    def test_only_after_every_worker_is_drained(self, stage: Stage) -> None:
        stage.drain("a", "b")
        stage.drain("c", **BUSY)
        assert stage.priced(0, empty=True).lower_to == 1


class TestCrashLoops:
    def crash(self, stage: Stage, name: str, *, bare: bool) -> None:
        stage.wait(1)
        restarts = stage.pods[name].restarts + (not bare)
        stage.show(name, bare=bare, ready=False, trouble=CRASHES, restarts=restarts)

    def test_a_crash_looping_worker_is_the_first_to_go(self, stage: Stage) -> None:
        self.crash(stage, "b", bare=True)
        made = stage.priced(2)
        assert (made.drain, made.lower_to) == ((), 2)

    def test_it_shields_no_busy_one_and_costs_no_other_its_place(self, stage: Stage) -> None:
        """While it runs for a moment it is first in the ReplicaSet's order, so nothing is lowered on others."""
        self.crash(stage, "b", bare=True)
        self.crash(stage, "b", bare=False)
        stage.say("a", idle_seconds=1000)
        made = stage.plan(2)
        assert "a" not in names(made.drain)
        assert made.lower_to is None

    def test_it_does_not_block_for_ever(self, stage: Stage) -> None:
        for _ in range(3):
            self.crash(stage, "b", bare=False)
            assert stage.plan(2).lower_to is None
            self.crash(stage, "b", bare=True)
        assert stage.priced(2).lower_to == 2


class TestRollouts:
    def test_nothing_is_lowered_and_nobody_stays_drained(self, stage: Stage) -> None:
        stage.drain("a")
        stage.priced(1)
        stage.show("d", replica_set="new")
        stage.turn(live=4, updated=1)
        made = stage.plan(1)
        assert (names(made.undrain), made.drain, made.lower_to, made.waiting_for) == ("a", (), None, Blocker.ROLLOUT)

    def test_a_replica_set_without_pods_is_one_too(self, stage: Stage) -> None:
        stage.drain("a")
        stage.turn(updated=0)
        assert stage.plan(1).waiting_for is Blocker.ROLLOUT

    def test_when_it_is_stuck_only_if_the_first_ones_of_each_replica_set_are_removable(self) -> None:
        stage = Stage("abcd", stuck=True, updated=1)
        stage.pods["d"] = pod("d", replica_set="new")
        stage.drain("a", "b")
        assert stage.priced(2).lower_to is None  # of the new one a busy worker could be removed
        stage.drain("d")
        assert stage.priced(1).lower_to == 2
