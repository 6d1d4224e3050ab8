"""The removal order of ReplicaSets, compared with a reimplementation of the controller's comparison."""

from functools import cmp_to_key
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.drain.replicaset_order import (
    CANDIDATE_COST,
    cost_annotations,
    guaranteed_removals,
    is_foreign,
    missing_costs,
    obsolete_costs,
    with_costs,
)
from taskqueue_operator.workers.api_objects import Pod

from .builders import NO_CONTAINER, pod

PHASES = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}


def compare(first: Pod, second: Pod) -> int:
    """Compare as ActivePodsWithRanks.Less of Kubernetes 1.36 does, up to the deletion cost.

    A result below 0 means that `first` is removed first.
    """
    if first.assigned != second.assigned:
        return -1 if not first.assigned else 1
    if PHASES[first.phase] != PHASES[second.phase]:
        return PHASES[first.phase] - PHASES[second.phase]
    if first.ready != second.ready:
        return -1 if not first.ready else 1
    return (first.cost or 0) - (second.cost or 0)


def removed(pods: list[Pod], count: int, random: Random) -> list[Pod]:
    """Return the pods that a ReplicaSet removes; pods that compare equal are in random order."""
    shuffled = random.sample(pods, len(pods))
    return sorted(shuffled, key=cmp_to_key(compare))[:count]


@st.composite
def pod_lists(draw: st.DrawFn, replica_sets: str = "r") -> list[Pod]:
    count = draw(st.integers(0, 8))
    return [
        pod(
            str(number),
            assigned=draw(st.booleans()),
            phase=draw(st.sampled_from(sorted(PHASES))),
            ready=draw(st.booleans()),
            cost=draw(st.sampled_from([None, CANDIDATE_COST, -5, 0, 5])),
            replica_set=draw(st.sampled_from(replica_sets)),
        )
        for number in range(count)
    ]


@given(pod_lists(), st.sets(st.integers(0, 7).map(str)), st.integers())
def test_guaranteed_removals_are_removable(pods: list[Pod], removable: set[str], seed: int) -> None:
    gone = removed(pods, guaranteed_removals(pods, removable), Random(seed))
    assert {pod.uid for pod in gone} <= removable


@given(pod_lists(), st.sets(st.integers(0, 7).map(str)))
def test_one_more_removal_may_be_of_a_pod_that_is_not_removable(pods: list[Pod], removable: set[str]) -> None:
    count = guaranteed_removals(pods, removable)
    if count < len(pods):
        assert any({pod.uid for pod in removed(pods, count + 1, Random(seed))} - removable for seed in range(200))


@pytest.mark.slow
@given(pod_lists("rs"), st.sets(st.integers(0, 7).map(str)), st.integers(), st.integers(0, 8))
def test_guaranteed_removals_are_removable_from_whichever_of_two_replica_sets(
    pods: list[Pod], removable: set[str], seed: int, share: int
) -> None:
    count = min(guaranteed_removals(pods, removable), len(pods))
    old, new = ([pod for pod in pods if pod.replica_set == name] for name in "rs")
    first = min(share, count, len(old))
    gone = removed(old, first, Random(seed)) + removed(new, min(count - first, len(new)), Random(seed))
    assert {pod.uid for pod in gone} <= removable


@given(pod_lists(), st.sets(st.integers(0, 7).map(str)), st.integers(0, 7).map(str))
def test_another_removable_pod_never_reduces_the_guaranteed_removals(
    pods: list[Pod], removable: set[str], another: str
) -> None:
    assert guaranteed_removals(pods, removable) <= guaranteed_removals(pods, removable | {another})


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"assigned": False, "phase": "Pending", "ready": False}, {"phase": "Pending", "ready": False}),
        ({"phase": "Pending", "ready": False}, {"phase": "Unknown", "ready": False}),
        ({"phase": "Unknown"}, {"ready": False}),
        ({"ready": False}, {"cost": CANDIDATE_COST}),
        ({"cost": CANDIDATE_COST}, {"cost": -5}),
        ({"cost": -5}, {}),
    ],
    ids=["unassigned", "pending", "unknown", "not ready", "lowest cost", "lower cost"],
)
def test_the_order_is_that_of_the_controller(first: dict[str, object], then: dict[str, object]) -> None:
    pods = [pod("a", **then), pod("b", **first), pod("c")]
    assert (guaranteed_removals(pods, {"b"}), guaranteed_removals(pods, {"a"})) == (1, 0)


def test_pods_that_are_equal_up_to_the_cost_may_be_removed_in_any_order() -> None:
    """Pods per node, time since ready, restarts and age are close to random."""
    pods = [pod("a", restarts=9), pod("b")]
    assert guaranteed_removals(pods, {"a"}) == guaranteed_removals(pods, {"b"}) == 0


def test_the_removal_of_a_drained_worker_that_is_still_ready_is_not_guaranteed_beside_an_unready_one() -> None:
    pods = [pod("drained", cost=CANDIDATE_COST), pod("starting", ready=False), pod("busy")]
    assert guaranteed_removals(pods, {"drained"}) == 0
    assert guaranteed_removals([pod("drained", cost=CANDIDATE_COST, ready=False), *pods[1:]], {"drained"}) == 1


def test_a_pod_without_a_container_may_become_ready_so_that_only_its_cost_ranks_it_first() -> None:
    pods = [pod("empty", phase="Pending", **NO_CONTAINER), pod("busy")]
    assert guaranteed_removals(pods, {"empty"}) == 0
    assert missing_costs(pods, {"empty"}) == {"empty": CANDIDATE_COST}
    assert guaranteed_removals(with_costs(pods, {"empty": CANDIDATE_COST}), {"empty"}) == 1


def test_a_pod_of_unsettled_readiness_may_have_either_rank() -> None:
    pods = [pod("drained", cost=CANDIDATE_COST), pod("undrained")]
    assert guaranteed_removals(pods, {"drained"}) == 1
    assert guaranteed_removals(pods, {"drained"}, unsettled={"undrained"}) == 0
    unready = [pod("drained", ready=False), pod("busy")]
    assert guaranteed_removals(unready, {"drained"}) == 1
    assert guaranteed_removals(unready, {"drained"}, unsettled={"drained"}) == 0


def test_pods_rejected_by_a_quota_are_removed_first() -> None:
    pods = [pod("busy"), pod("idle")]
    assert guaranteed_removals(pods, (), rejected_pods=3) == 3
    assert guaranteed_removals([pod("busy", ready=False)], (), rejected_pods=3) == 0
    assert guaranteed_removals(pods, {"busy", "idle"}, rejected_pods=3) == 5


def test_our_cost_is_cleared_when_its_pod_is_not_removable() -> None:
    pods = [pod("a", cost=CANDIDATE_COST, cost_is_managed=True), pod("b", cost=CANDIDATE_COST, cost_is_managed=True)]
    assert obsolete_costs(pods, {"a"}) == {"b": None}


def test_a_foreign_cost_is_recognized_and_left_alone() -> None:
    pods = [pod("a", cost=-100), pod("b")]
    assert [is_foreign(pod) for pod in pods] == [True, False]
    assert missing_costs(pods, {"a", "b"}) == {"b": CANDIDATE_COST}
    assert obsolete_costs(pods, ()) == {}


def test_our_older_cost_is_replaced() -> None:
    assert missing_costs([pod("a", cost=-1000, cost_is_managed=True)], {"a"}) == {"a": CANDIDATE_COST}


def test_a_cost_is_written_with_an_annotation_that_marks_it_as_ours() -> None:
    written = cost_annotations(CANDIDATE_COST)
    assert (
        written["controller.kubernetes.io/pod-deletion-cost"]
        == str(CANDIDATE_COST)
        == written["taskqueue.dev/pod-deletion-cost"]
    )
    assert set(cost_annotations(None).values()) == {None}
