"""The order in which a ReplicaSet removes pods, against the controller's own comparison written out."""

from functools import cmp_to_key
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.drain.replicaset_order import (
    COST,
    annotations,
    is_foreign,
    missing_costs,
    obsolete_costs,
    sure,
    with_costs,
)
from taskqueue_operator.workers.api_objects import Pod

from .stage import BARE, pod

PHASES = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}


def compare(one: Pod, other: Pod) -> int:
    """Compare as ActivePodsWithRanks.Less of Kubernetes 1.36 does, up to the deletion cost; below 0 goes first."""
    if one.assigned != other.assigned:
        return -1 if not one.assigned else 1
    if PHASES[one.phase] != PHASES[other.phase]:
        return PHASES[one.phase] - PHASES[other.phase]
    if one.ready != other.ready:
        return -1 if not one.ready else 1
    return (one.cost or 0) - (other.cost or 0)


def removed(pods: list[Pod], count: int, random: Random) -> list[Pod]:
    """Remove as a ReplicaSet does; pods that are alike are in an order nobody can rely on."""
    shuffled = random.sample(pods, len(pods))
    return sorted(shuffled, key=cmp_to_key(compare))[:count]


@st.composite
def crews(draw: st.DrawFn, replica_sets: str = "r") -> list[Pod]:
    count = draw(st.integers(0, 8))
    return [
        pod(
            str(number),
            assigned=draw(st.booleans()),
            phase=draw(st.sampled_from(sorted(PHASES))),
            ready=draw(st.booleans()),
            cost=draw(st.sampled_from([None, COST, -5, 0, 5])),
            replica_set=draw(st.sampled_from(replica_sets)),
        )
        for number in range(count)
    ]


@given(crews(), st.sets(st.integers(0, 7).map(str)), st.integers())
def test_as_many_as_are_sure_never_include_one_that_may_not_go(pods: list[Pod], may: set[str], seed: int) -> None:
    gone = removed(pods, sure(pods, may), Random(seed))
    assert {each.uid for each in gone} <= may


@given(crews(), st.sets(st.integers(0, 7).map(str)))
def test_one_more_than_are_sure_could_be_one_that_may_not_go(pods: list[Pod], may: set[str]) -> None:
    count = sure(pods, may)
    if count < len(pods):
        assert any({each.uid for each in removed(pods, count + 1, Random(seed))} - may for seed in range(200))


@given(crews("rs"), st.sets(st.integers(0, 7).map(str)), st.integers(), st.integers(0, 8))
def test_with_two_replica_sets_it_does_not_matter_which_has_to_give(
    pods: list[Pod], may: set[str], seed: int, share: int
) -> None:
    count = min(sure(pods, may), len(pods))
    old, new = ([each for each in pods if each.replica_set == name] for name in "rs")
    first = min(share, count, len(old))
    gone = removed(old, first, Random(seed)) + removed(new, min(count - first, len(new)), Random(seed))
    assert {each.uid for each in gone} <= may


@given(crews(), st.sets(st.integers(0, 7).map(str)), st.integers(0, 7).map(str))
def test_one_more_who_may_go_never_makes_fewer_sure(pods: list[Pod], may: set[str], another: str) -> None:
    assert sure(pods, may) <= sure(pods, may | {another})


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"assigned": False, "phase": "Pending", "ready": False}, {"phase": "Pending", "ready": False}),
        ({"phase": "Pending", "ready": False}, {"phase": "Unknown", "ready": False}),
        ({"phase": "Unknown"}, {"ready": False}),
        ({"ready": False}, {"cost": COST}),
        ({"cost": COST}, {"cost": -5}),
        ({"cost": -5}, {}),
    ],
    ids=["unassigned", "pending", "unknown", "not ready", "lowest cost", "lower cost"],
)
def test_the_order_is_that_of_the_controller(first: dict[str, object], then: dict[str, object]) -> None:
    pods = [pod("a", **then), pod("b", **first), pod("c")]
    assert (sure(pods, {"b"}), sure(pods, {"a"})) == (1, 0)


def test_pods_that_are_alike_up_to_the_cost_may_go_in_any_order() -> None:
    """On which node they are, how long they are ready, restarts and age are close to chance."""
    pods = [pod("a", restarts=9), pod("b")]
    assert sure(pods, {"a"}) == sure(pods, {"b"}) == 0


def test_a_drained_worker_that_is_still_ready_is_not_sure_to_go_before_one_that_is_not_ready() -> None:
    pods = [pod("drained", cost=COST), pod("starting", ready=False), pod("busy")]
    assert sure(pods, {"drained"}) == 0
    assert sure([pod("drained", cost=COST, ready=False), *pods[1:]], {"drained"}) == 1


def test_a_pod_without_a_container_may_be_ready_by_the_time_and_then_only_its_cost_puts_it_first() -> None:
    pods = [pod("bare", phase="Pending", **BARE), pod("busy")]
    assert sure(pods, {"bare"}) == 0
    assert missing_costs(pods, {"bare"}) == {"bare": COST}
    assert sure(with_costs(pods, {"bare": COST}), {"bare"}) == 1


def test_what_is_not_sure_of_readiness_counts_for_neither() -> None:
    pods = [pod("drained", cost=COST), pod("undrained")]
    assert sure(pods, {"drained"}) == 1
    assert sure(pods, {"drained"}, unsteady={"undrained"}) == 0
    unready = [pod("drained", ready=False), pod("busy")]
    assert sure(unready, {"drained"}) == 1
    assert sure(unready, {"drained"}, unsteady={"drained"}) == 0


def test_pods_that_a_quota_keeps_from_being_made_are_the_first_to_go() -> None:
    pods = [pod("busy"), pod("idle")]
    assert sure(pods, (), rejected_pods=3) == 3
    assert sure([pod("busy", ready=False)], (), rejected_pods=3) == 0
    assert sure(pods, {"busy", "idle"}, rejected_pods=3) == 5


def test_a_cost_of_ours_is_cleared_when_its_pod_stays() -> None:
    pods = [pod("a", cost=COST, cost_is_managed=True), pod("b", cost=COST, cost_is_managed=True)]
    assert obsolete_costs(pods, {"a"}) == {"b": None}


def test_a_cost_that_somebody_else_wrote_is_left_alone_and_known_as_such() -> None:
    pods = [pod("a", cost=-100), pod("b")]
    assert [is_foreign(each) for each in pods] == [True, False]
    assert missing_costs(pods, {"a", "b"}) == {"b": COST}
    assert obsolete_costs(pods, ()) == {}


def test_an_older_cost_of_ours_is_replaced() -> None:
    assert missing_costs([pod("a", cost=-1000, cost_is_managed=True)], {"a"}) == {"a": COST}


def test_a_cost_is_written_with_a_note_of_who_wrote_it() -> None:
    written = annotations(COST)
    assert (
        written["controller.kubernetes.io/pod-deletion-cost"] == str(COST) == written["taskqueue.dev/pod-deletion-cost"]
    )
    assert set(annotations(None).values()) == {None}
