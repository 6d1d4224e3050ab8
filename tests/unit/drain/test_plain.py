"""Workers that cannot be asked: who goes, on what evidence, and how fast without any."""

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
from taskqueue_operator.drain.plain import TURN, attested
from taskqueue_operator.drain.plan import Plan, plan
from taskqueue_operator.drain.replicaset_order import COST
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.drain.worker_state import RemovedState
from taskqueue_operator.workers.api_objects import PodProblem

from .stage import BARE, DEPLOYMENT, EPOCH, MARK, START, pod
from .test_replicaset_order import removed

CRASHES = PodProblem("CrashLoopBackOff", "worker", "exit code 1")
AGO = timedelta(seconds=7)


class Stage:
    """Workers named by letters, who have been there for long and say nothing."""

    def __init__(self, names: str = "abc", *, acks_late: bool = True) -> None:
        self.acks_late = acks_late
        self.now = START
        self.crew = WorkerPool("default", EPOCH, START)
        self.pods = {name: pod(name) for name in names}
        count = len(names)
        self.deployment = replace(DEPLOYMENT, mark=MARK, replicas=count, live=count, updated=count)
        self.show()
        self.wait(60)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def show(self, name: str = "", **fields: Any) -> list[RemovedState]:  # noqa: ANN401  any field of a pod
        if name:
            self.pods[name] = replace(self.pods[name], **fields)
        return [each.victim() for each in self.crew.observe(self.deployment, self.pods.values(), self.now)]

    def plan(
        self, desired: int, *, idle: Iterable[str] = (), unknown: Iterable[str] = (), empty_at: datetime | None = None
    ) -> Plan:
        self.show()
        situation = DrainContext(
            self.crew, self.deployment, QueueState(running=True, empty_at=empty_at), desired, self.now
        )
        seen = IdleEvidence(dict.fromkeys(idle, self.now - AGO), frozenset(unknown))
        return plan(attested(situation, seen if self.acks_late else None))

    def priced(self, desired: int, **seen: Any) -> Plan:  # noqa: ANN401  as for `plan`
        """Plan the step after that in which the costs are written."""
        for uid, cost in self.plan(desired, **seen).costs.items():
            self.pods[uid] = replace(self.pods[uid], cost=cost, cost_is_managed=cost is not None)
        return self.plan(desired, **seen)

    def lower(self, made: Plan) -> None:
        """The lower number is written, and nothing has come of it yet."""
        assert made.lower_to is not None
        self.crew.begin_scale_in(self.deployment, self.now)
        self.deployment = replace(self.deployment, generation=2, observed_generation=1, replicas=made.lower_to)

    def remove(self, *names: str) -> list[RemovedState]:
        for name in names:
            del self.pods[name]
        count = len(self.pods)
        self.deployment = replace(self.deployment, observed_generation=2, live=count, updated=count)
        return self.show()


@pytest.fixture
def stage() -> Stage:
    return Stage()


class TestKnownToBeIdle:
    def test_they_go_by_their_cost_and_are_asked_nothing(self, stage: Stage) -> None:
        made = stage.plan(1, idle="bc")
        assert (dict(made.costs), made.lower_to) == ({"b": COST, "c": COST}, None)
        made = stage.priced(1, idle="bc")
        assert (made.costs, made.lower_to) == ({}, 1)
        assert (made.drain, made.renew, made.undrain) == ((), (), ())

    def test_never_more_go_than_are_known_to_be_idle(self, stage: Stage) -> None:
        assert stage.priced(0, idle="b").lower_to == 2
        stage.show("b", cost=None, cost_is_managed=False)
        made = stage.plan(0)
        assert (made.lower_to, dict(made.costs), made.waiting_for) == (None, {}, Blocker.WORKERS)

    def test_no_more_go_than_are_superfluous(self, stage: Stage) -> None:
        assert list(stage.plan(2, idle="abc").costs) == ["a"]
        assert dict(stage.plan(3, idle="abc").costs) == {}

    def test_who_is_to_go_stays_the_same_while_it_is_idle(self, stage: Stage) -> None:
        stage.show("c", cost=COST, cost_is_managed=True)
        assert stage.plan(2, idle="abc").lower_to == 2

    def test_a_cost_is_taken_back_from_who_has_begun_to_work(self, stage: Stage) -> None:
        stage.show("c", cost=COST, cost_is_managed=True)
        assert dict(stage.plan(2).costs) == {"c": None}

    def test_nobody_goes_without_a_leader_of_the_queue(self, stage: Stage) -> None:
        situation = DrainContext(stage.crew, stage.deployment, QueueState(running=False), 1, stage.now)
        made = plan(attested(situation, IdleEvidence({"a": stage.now - AGO})))
        assert (made.lower_to, dict(made.costs), made.waiting_for) == (None, {}, Blocker.QUEUE)

    def test_what_was_seen_before_its_container_began_was_another_one(self, stage: Stage) -> None:
        stage.show("a", restarts=1)
        assert dict(stage.plan(2, idle="a").costs) == {}
        stage.wait(7)
        assert dict(stage.plan(2, idle="a").costs) == {"a": COST}

    def test_zero_only_when_the_queue_was_seen_empty_while_all_were_idle(self, stage: Stage) -> None:
        assert stage.plan(0, idle="abc").lower_to == 1
        assert stage.plan(0, idle="abc", empty_at=stage.now - AGO).lower_to == 1
        assert stage.plan(0, idle="abc", empty_at=stage.now - timedelta(seconds=6)).lower_to == 0

    def test_who_crashes_goes_first_and_is_no_substitute_for_one_that_works(self, stage: Stage) -> None:
        stage.show("b", trouble=CRASHES, restarts=3)
        stage.wait(10)
        assert list(stage.plan(2, idle="abc").costs) == ["b"]
        assert dict(stage.plan(2, idle="ac").costs) == {}
        stage.show("a", trouble=CRASHES)
        assert list(stage.plan(2, idle="abc").costs) == ["a"], "and no more than are superfluous"

    def test_a_pod_without_a_container_needs_no_evidence(self, stage: Stage) -> None:
        stage.wait(1)
        stage.show("b", phase="Pending", assigned=False, **BARE)
        assert stage.priced(2).lower_to == 2

    def test_nobody_goes_in_a_rollout(self, stage: Stage) -> None:
        stage.show("a", replica_set="new")
        made = stage.plan(1, idle="abc")
        assert (made.lower_to, made.waiting_for) == (None, Blocker.ROLLOUT)

    def test_who_is_unknown_is_named(self, stage: Stage) -> None:
        assert [key.name for key in stage.plan(1, unknown="ac").silent] == ["a", "c"]
        assert stage.plan(1, idle="abc").silent == ()

    def test_what_went_is_told_by_what_was_known(self, stage: Stage) -> None:
        stage.lower(stage.priced(1, idle="ab"))
        assert stage.remove("a", "b") == [RemovedState.IDLE, RemovedState.IDLE]
        assert stage.remove("c") == [RemovedState.UNKNOWN]


class TestWhileTheyAreRemoved:
    def test_a_look_that_gets_old_meanwhile_brings_nobody_back(self, stage: Stage) -> None:
        stage.lower(stage.priced(2, idle="a"))
        stage.wait(20)
        made = stage.plan(2)
        assert (made.restore_to, made.waiting_for) == (None, Blocker.REMOVAL)

    def test_a_controller_that_does_not_act_for_long_is_not_to_act_on_it_any_more(self, stage: Stage) -> None:
        stage.lower(stage.priced(2, idle="a"))
        stage.wait(55)
        assert stage.plan(2).restore_to == 3


class TestNotKnown:
    """Without late acknowledgements nobody is known to be idle, and the grace period alone protects."""

    @pytest.fixture
    def stage(self) -> Stage:
        return Stage(acks_late=False)

    def test_one_goes_at_a_time(self, stage: Stage) -> None:
        made = stage.priced(0)
        assert made.lower_to == 2
        stage.lower(made)
        assert stage.remove("a") == [RemovedState.UNKNOWN]
        assert stage.plan(0).waiting_for is Blocker.WORKERS
        stage.wait(TURN.total_seconds())
        assert stage.priced(0).lower_to == 1

    def test_nobody_goes_right_after_an_operator_has_begun(self) -> None:
        stage = Stage(acks_late=False)
        stage.crew = WorkerPool("default", EPOCH, stage.now)
        assert dict(stage.plan(0).costs) == {}

    def test_the_last_one_goes_when_the_queue_was_seen_empty(self) -> None:
        stage = Stage("a", acks_late=False)
        assert stage.plan(0).lower_to is None
        assert stage.plan(0, empty_at=stage.now).lower_to == 0

    def test_who_goes_is_whom_the_replica_set_would_take_first(self, stage: Stage) -> None:
        stage.show("c", ready=False)
        assert list(stage.plan(0).costs) == ["c"]

    def test_nobody_is_named_as_nobody_is_known(self, stage: Stage) -> None:
        assert stage.plan(0).silent == ()


@given(st.data(), st.booleans())
def test_the_replica_set_never_removes_one_that_is_not_known_to_be_idle_but_one_in_its_turn(
    data: st.DataObject,
    acks_late: bool,  # noqa: FBT001  hypothesis fills it in
) -> None:
    stage = Stage("abcdef", acks_late=acks_late)
    names = st.sets(st.sampled_from("abcdef"))
    bare, unready, idle = data.draw(names), data.draw(names), data.draw(names)
    for name in "abcdef":
        foreign = data.draw(st.sampled_from([None, None, -5, 5]))
        stage.show(name, cost=foreign, **(BARE if name in bare else {"ready": name not in unready}))
    stage.wait(20)
    desired = data.draw(st.integers(0, 6))
    made = stage.priced(desired, idle=idle, empty_at=data.draw(st.sampled_from([None, stage.now])))
    if made.lower_to is None:
        return
    gone = removed(list(stage.pods.values()), 6 - made.lower_to, Random(data.draw(st.integers())))
    unproved = {each.uid for each in gone} - bare - (idle if acks_late else set())
    assert len(unproved) <= (0 if acks_late else 1)
    assert made.lower_to >= desired
