"""The drain token is written before commands and writes that it protects, and removed when no worker is drained."""

from dataclasses import replace

import pytest

from taskqueue_operator.drain.actions import WriteDrainToken
from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.drain.plan import Plan, plan
from taskqueue_operator.drain.protocol import Drain, FencingToken, State, Verb
from taskqueue_operator.drain.replicaset_order import CANDIDATE_COST
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker_pool import WorkerPool
from taskqueue_operator.resource.bounds import DRAIN_SEQ

from .builders import EPOCH, NO_CONTAINER, TOKEN
from .scenario import DrainScenario


@pytest.fixture
def scenario() -> DrainScenario:
    return DrainScenario()


def test_the_annotation_is_written_before_the_first_drain() -> None:
    scenario = DrainScenario(drain_token="")
    made = scenario.plan(2)
    assert (made.token_update, len(made.actions)) == (("", TOKEN), 1)
    scenario.change_deployment(drain_token=TOKEN)
    assert len(scenario.plan(2).drains) == 1


def test_the_annotation_is_written_before_a_scale_in() -> None:
    scenario = DrainScenario(drain_token="")
    scenario.drain("a", "b", "c")
    made = scenario.plan(0, empty=True)
    assert (made.token_update, made.scale_in_to) == (("", TOKEN), None)


def test_the_annotation_is_written_before_a_cost_is_cleared() -> None:
    """A former leader may be about to scale in by that cost."""
    scenario = DrainScenario(drain_token="")
    scenario.change_pod("a", cost=CANDIDATE_COST, cost_is_managed=True)
    made = scenario.plan(3)
    assert (made.token_update, made.costs) == (("", TOKEN), {})
    scenario.change_deployment(drain_token=TOKEN)
    assert scenario.plan(3).costs == {"a": None}


def test_the_annotation_is_removed_when_no_worker_is_drained(scenario: DrainScenario) -> None:
    scenario.drain("a")
    scenario.undrain("a")
    assert scenario.plan(3).token_update == (TOKEN, "")


def test_the_annotation_is_kept_while_a_worker_may_be_drained(scenario: DrainScenario) -> None:
    scenario.drain("a")
    scenario.send("a", Verb.UNDRAIN)
    assert scenario.plan(3).token_update is None


def test_the_annotation_is_kept_until_every_worker_had_time_to_report_to_a_new_leader(scenario: DrainScenario) -> None:
    """A worker that the former leader drained would not be undrained."""
    scenario.pool = WorkerPool("default", EPOCH, scenario.now)
    assert scenario.plan(3).token_update is None
    scenario.wait(20)
    assert scenario.plan(3).token_update == (TOKEN, "")


def test_the_annotation_is_kept_until_the_view_is_settled() -> None:
    scenario = DrainScenario("abc", drain_token="")
    scenario.wait(1)
    scenario.change_pod("a", **NO_CONTAINER)
    assert scenario.plan_after_costs(2).token_update is not None
    scenario.change_deployment(drain_token=TOKEN, generation=2)
    unsettled = scenario.plan(2)
    assert (unsettled.token_update, unsettled.blocked_by) == (None, Blocker.SETTLING)
    scenario.change_deployment(observed_generation=2)
    assert scenario.plan_after_costs(2).scale_in_to == 2


@pytest.mark.parametrize("found", [f"{EPOCH - 1}.9", "another's"])
def test_a_new_leader_replaces_any_annotation_before_it_sends_commands(found: str) -> None:
    scenario = DrainScenario(drain_token=found)
    scenario.report("a", State.DRAINED, drain=Drain("default", EPOCH - 1, 9))
    for desired in (0, 3):
        assert scenario.plan(desired).actions == (WriteDrainToken(found, TOKEN, generation=1),)


@pytest.mark.parametrize("seq", [DRAIN_SEQ + 1, 2**63, 10**20 - 1])
def test_a_number_that_no_leader_has_reached_is_replaced_and_not_adopted(seq: int) -> None:
    found = f"{EPOCH}.{seq}"
    scenario = DrainScenario(drain_token=found)
    assert scenario.plan(2).actions == (WriteDrainToken(found, TOKEN, generation=1),)
    scenario.change_deployment(drain_token=TOKEN)
    assert len(scenario.plan(2).drains) == 1


def test_a_former_leader_does_nothing(scenario: DrainScenario) -> None:
    scenario.drain("a")
    scenario.change_deployment(drain_token=str(FencingToken(EPOCH + 1, 1)))
    for desired in (0, 3):
        assert scenario.plan(desired).plan == Plan(blocked_by=Blocker.NOT_LEADER)


def test_an_annotation_of_a_later_epoch_is_replaced_if_the_lease_names_this_leader() -> None:
    """A client that never held the Lease wrote it, such as a restored backup."""
    found = str(FencingToken(EPOCH + 1, 1))
    scenario = DrainScenario(drain_token=found)
    context = scenario.context(0, QueueState(running=True))
    assert plan(context).blocked_by is Blocker.NOT_LEADER
    assert plan(replace(context, leads=True)).actions == (WriteDrainToken(found, TOKEN, generation=1),)


def test_after_a_scale_in_without_an_answer_seq_is_raised_before_anything_else(scenario: DrainScenario) -> None:
    scenario.drain("a")
    scenario.plan_after_costs(2)
    scenario.begin_scale_in()
    for desired in (0, 2, 3):
        assert scenario.plan(desired).plan == Plan(
            actions=(WriteDrainToken(TOKEN, f"{EPOCH}.2", generation=1),),
            plan_again=True,
            blocked_by=Blocker.REMOVAL,
        )
    scenario.change_deployment(drain_token=f"{EPOCH}.2")
    assert scenario.plan(3).undrains == "a"


def test_seq_is_raised_before_a_drain_that_follows_an_undrain(scenario: DrainScenario) -> None:
    """Otherwise the undrain, if it arrives late, reverts the drain."""
    scenario.drain("a", "b")
    scenario.undrain("a")
    assert scenario.plan(0).token_update == (TOKEN, f"{EPOCH}.2")
