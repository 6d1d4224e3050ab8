"""A policy has the broker delay failed messages, where the spec asks for it and the broker can."""

from dataclasses import replace
from typing import Any

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.topology.consumer_timeout import timeout_requirement
from taskqueue_operator.topology.delayed_retries import granted_retries, retry_requirement
from taskqueue_operator.topology.objects import Policy, Topology
from taskqueue_operator.topology.queue_policies import delays_returned, main_policies, main_policy
from tests.approved import assert_approved
from tests.unit.topology.builders import desired_topology, taskqueue
from tests.unit.topology.in_memory_vhost import vhost_with

QUEUE = desired_topology().queues["jobs"]
LINEAR = {"maxAttempts": 3, "backoff": {"type": "Linear", "initialSeconds": 2, "maxSeconds": 60}}
PLAIN = {"image": "acme/pika:1", "protocol": "Plain"}
DELAYS = {"delayed-retry-type": "failed", "delayed-retry-min": 2000, "delayed-retry-max": 60_000}
COUNTED = {**DELAYS, "delivery-limit": 2}


def jobs(**spec: object) -> TaskQueue:
    return taskqueue(**{"retry": LINEAR, **spec})


def policy_of(jobs: TaskQueue, *policies: Policy, timeout: int = 60) -> Policy | None:
    actual = vhost_with(QUEUE, *policies)
    retries = retry_requirement("jobs", jobs, actual)
    timeout_of_tasks = timeout_requirement("jobs", timeout, actual.version)
    return main_policy("jobs", [*([retries] if retries else []), timeout_of_tasks], actual)


def user_policy(priority: int = 1, **definition: object) -> Policy:
    written = {name.replace("_", "-"): value for name, value in definition.items()}
    return Policy("user", "^jobs", "queues", written, priority)


def definition(policy: Policy | None) -> Any:  # noqa: ANN401  of every kind
    return policy.definition if policy is not None else None


def test_rabbitmq_counts_the_attempts_of_plain_workers_and_dead_letters_after_the_last() -> None:
    assert policy_of(jobs(worker=PLAIN)) == Policy("jobs.retry", "^jobs$", "queues", COUNTED)


def test_workers_of_the_protocol_dead_letter_themselves_so_that_the_message_says_why() -> None:
    assert definition(policy_of(jobs())) == DELAYS


@pytest.mark.parametrize("spec", [{"retry": {"maxAttempts": 3}}, {"queue": {"name": "jobs", "external": True}}])
def test_without_linear_and_for_an_external_queue_there_is_no_policy(spec: dict[str, object]) -> None:
    assert policy_of(jobs(**spec)) is None


def test_one_policy_has_all_that_a_queue_needs_and_repeats_the_policy_that_it_replaces() -> None:
    theirs = user_policy(max_length=5, delayed_retry_type="all")
    ours = policy_of(jobs(worker=PLAIN), theirs, timeout=7200)
    assert ours is not None
    assert ours.name == "jobs.retry over user"
    assert ours.definition == {"max-length": 5, **COUNTED, "consumer-timeout": 7_200_000}
    assert policy_of(jobs(worker=PLAIN), theirs, ours, timeout=7200) == ours


def test_a_policy_for_long_tasks_makes_way_for_one_that_also_delays_retries() -> None:
    theirs = user_policy(max_length=5)
    before = policy_of(jobs(retry=None), theirs, timeout=7200)
    assert before is not None
    after = policy_of(jobs(worker=PLAIN), theirs, before, timeout=7200)
    assert after is not None
    assert (before.name, after.name) == ("jobs.timeout over user", "jobs.retry over user")
    both = vhost_with(QUEUE, theirs, before, after)
    assert set(map(id, main_policies("jobs", both))) == {id(before), id(after)}, "the obsolete one is removed"


def test_a_policy_of_the_user_that_delays_as_the_spec_asks_is_enough() -> None:
    theirs = user_policy(delayed_retry_type="failed", delayed_retry_min=2000, delayed_retry_max=60_000)
    assert policy_of(jobs(), theirs) is None
    assert definition(policy_of(jobs(worker=PLAIN), theirs)) == COUNTED


def test_workers_that_still_reject_keep_the_policy_that_delays_it() -> None:
    ours = policy_of(jobs())
    assert ours is not None
    granted = granted_retries("jobs", main_policies("jobs", vhost_with(QUEUE, ours)))
    assert granted is not None
    assert granted.settings == DELAYS
    assert granted_retries("jobs", []) is None


@pytest.mark.parametrize(("version", "is_refused"), [((4, 2, 9), True), ((4, 3, 0), True), ((4, 3, 1), False)])
def test_a_broker_that_is_too_old_is_refused_before_anything_is_created(
    version: tuple[int, ...], *, is_refused: bool
) -> None:
    actual = Topology(version=version)
    if not is_refused:
        assert retry_requirement("jobs", jobs(), actual) is not None
        return
    with pytest.raises(TopologyFault) as raised:
        retry_requirement("jobs", jobs(), actual)
    assert raised.value.reason is Reason.TOPOLOGY_REFUSED
    assert ".".join(map(str, version)) in raised.value.message


def test_the_message_about_an_old_broker_names_the_version_and_the_way_out() -> None:
    for key, spec, version in (
        ("topology.linear_on_an_old_broker", {}, (4, 0, 5)),
        ("topology.linear_on_an_old_broker_with_plain", {"worker": PLAIN}, (0, 0, 0)),
    ):
        with pytest.raises(TopologyFault) as raised:
            retry_requirement("jobs", jobs(**spec), Topology(version=version))
        assert_approved(key, raised.value.message)


def test_a_policy_of_higher_priority_that_does_not_delay_is_a_conflict() -> None:
    with pytest.raises(TopologyFault) as raised:
        policy_of(jobs(), user_policy(priority=5000, max_length=5))
    assert raised.value.reason is Reason.POLICY_CONFLICT
    assert_approved("topology.linear_policy_displaced", raised.value.message)


def test_a_policy_that_delays_what_a_worker_gives_back_is_named_even_where_the_operator_repeats_it() -> None:
    theirs = user_policy(delayed_retry_type="all")
    delayed = replace(QUEUE, delayed="all")
    assert delays_returned("jobs", vhost_with(delayed, theirs)) == 'Policy "user" (delayed-retry-type: all)'
    ours = policy_of(jobs(retry=None), theirs, timeout=7200)
    assert ours is not None
    assert delays_returned("jobs", vhost_with(delayed, theirs, ours)) == 'Policy "user" (delayed-retry-type: all)'
    assert delays_returned("jobs", vhost_with(delayed)) == "Argument x-delayed-retry-type: all"


@pytest.mark.parametrize("delayed", [None, "failed", "disabled"])
def test_a_queue_that_delays_only_what_is_rejected_is_no_trouble(delayed: str | None) -> None:
    assert not delays_returned("jobs", vhost_with(replace(QUEUE, delayed=delayed)))
    assert not delays_returned("jobs", vhost_with())
