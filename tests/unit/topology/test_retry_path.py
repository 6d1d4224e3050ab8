from dataclasses import replace

import pytest

from taskqueue_operator.resource import names
from taskqueue_operator.resource.bounds import LONGEST_DELAY_SECONDS, UNREACHABLE_DELIVERY_LIMIT
from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.deletion import removal_steps
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.objects import Binding, Policy, Topology
from taskqueue_operator.topology.retry_path import retry_path, retry_steps
from taskqueue_worker import bounds
from taskqueue_worker.publishing import delay_queues
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER
from tests.unit.topology.in_memory_vhost import apply_steps
from tests.unit.topology.vhosts import DESIRED

DIRECT = Binding("taskqueue.return", "jobs", to_queue=True, routing_key="jobs")
LANDING = Binding("taskqueue.return", "taskqueue.return.jobs", to_queue=True, routing_key="jobs")


def steps(actual: Topology) -> tuple[Step, ...]:
    return retry_steps("jobs", actual, owner=OWNER)


def declared(actual: Topology) -> Topology:
    return apply_steps(steps(actual), actual)


def limited(actual: Topology, *, has_limit: bool = True) -> Topology:
    queue = replace(actual.queues["jobs"], has_limit=has_limit)
    return replace(actual, queues={**actual.queues, "jobs": queue})


def test_retries_return_to_their_queue_and_what_has_none_is_parked() -> None:
    path = declared(DESIRED)
    assert DIRECT in path.bindings
    assert Binding("taskqueue.parking", "taskqueue.parking", to_queue=True) in path.bindings
    assert path.exchanges["taskqueue.return"].arguments == {"alternate-exchange": "taskqueue.parking"}
    assert path.queues["taskqueue.parking"].arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": UNREACHABLE_DELIVERY_LIMIT,
    }
    assert steps(path) == ()
    assert diff(DESIRED, path, owner=OWNER) == ()


def test_the_exchanges_and_the_parking_queue_belong_to_the_vhost_and_stay() -> None:
    path = declared(DESIRED)
    after = apply_steps(removal_steps(DESIRED, path, owner=OWNER), path)
    assert set(after.exchanges) == {"taskqueue.return", "taskqueue.parking"}
    assert set(after.queues) == {"taskqueue.parking"}


def test_a_queue_whose_length_a_policy_limits_gets_a_landing_queue_that_never_refuses() -> None:
    before = limited(declared(DESIRED))
    assert steps(before)[-1] == Remove(DIRECT), "the new way exists before the old one ends"
    after = limited(declared(before))
    assert (DIRECT in after.bindings, LANDING in after.bindings) == (False, True)
    assert after.queues["taskqueue.return.jobs"].arguments == {
        "x-queue-type": "quorum",
        "x-message-ttl": 0,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "jobs",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-taskqueue-owner": OWNER,
    }
    assert steps(after) == ()


def test_a_limit_is_known_from_the_policy_where_the_broker_does_not_show_what_applies() -> None:
    before = declared(DESIRED)
    queue = replace(before.queues["jobs"], policy="limit")
    limit = Policy("limit", "^jobs$", "queues", {"max-length-bytes": 5})
    before = replace(before, queues={**before.queues, "jobs": queue}, policies={"limit": limit})
    assert LANDING in declared(before).bindings


def test_a_queue_that_its_spec_limits_gets_the_landing_queue_before_the_policy_has_an_effect() -> None:
    assert LANDING in apply_steps(retry_steps("jobs", DESIRED, owner=OWNER, is_limited=True), DESIRED).bindings


def test_without_the_limit_retries_return_directly_again_and_the_landing_queue_goes_with_the_taskqueue() -> None:
    landed = declared(limited(declared(DESIRED)))
    after = declared(limited(landed, has_limit=False))
    assert (DIRECT in after.bindings, LANDING in after.bindings) == (True, False)
    assert "taskqueue.return.jobs" in after.queues, "it may hold messages"
    assert "taskqueue.return.jobs" not in apply_steps(removal_steps(DESIRED, after, owner=OWNER), after).queues


def test_an_exchange_that_would_lose_retries_is_a_conflict() -> None:
    path = declared(DESIRED)
    other = replace(path.exchanges["taskqueue.return"], arguments={})
    with pytest.raises(TopologyFault) as raised:
        steps(replace(path, exchanges={**path.exchanges, "taskqueue.return": other}))
    assert raised.value.reason is Reason.IMMUTABLE_DRIFT
    assert_approved("topology.retry_path_differs", raised.value.message)


def test_what_was_deleted_is_declared_again() -> None:
    path = declared(DESIRED)
    assert steps(apply_steps([Remove(DIRECT)], path)) == (Declare(DIRECT),)
    assert declared(apply_steps([Remove(path.queues["taskqueue.parking"])], path)) == path


def test_operator_and_worker_use_the_same_names_and_bounds() -> None:
    """They share no code: docs/worker-contract.md is what both implement."""
    assert delay_queues.RETURN_EXCHANGE == names.RETURN_EXCHANGE
    assert delay_queues.marker_queue("jobs") == names.marker_queue("jobs")
    assert [delay_queues.delay_queue(1 << power) for power in range(16)] == list(names.DELAY_QUEUES)
    assert bounds.LONGEST_DELAY_SECONDS == LONGEST_DELAY_SECONDS
    assert set(retry_path("jobs", OWNER).exchanges) == {names.RETURN_EXCHANGE, names.PARKING}
