"""Parsing of a TaskQueue: defaults, derived names, and faults of an invalid object."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource import names
from taskqueue_operator.resource.bounds import BEYOND_BOUNDS, FAULT_CHARACTERS, SPEC_CHARACTERS
from taskqueue_operator.resource.broker import DeletionPolicy
from taskqueue_operator.resource.exchange import ExchangeType
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.queue import QueueType
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.policy import Policy
from tests.approved import assert_approved

from .spec_examples import ACCEPTED, MINIMAL, REJECTED, changed

SAMPLE = (Path(__file__).parents[3] / "deploy/samples/minimal.yaml").read_text()
IDENTITY = {"namespace": "media", "name": "thumbnails", "uid": "u", "resourceVersion": "7", "generation": 3}


def parsed(spec: dict[str, Any], **metadata: object) -> TaskQueue:
    return TaskQueue.parse({"metadata": IDENTITY | metadata, "spec": spec})


def test_the_minimal_sample_is_a_complete_taskqueue() -> None:
    body = yaml.safe_load(SAMPLE)
    body["metadata"] = IDENTITY | body["metadata"]
    taskqueue = TaskQueue.parse(body)
    assert taskqueue.key == Key("media", "thumbnails")
    assert (taskqueue.queue_name, taskqueue.exchange_name) == ("thumbnails", "thumbnails")
    assert [binding.routing_key for binding in taskqueue.bindings] == ["thumbnails"]
    assert (taskqueue.queue.type, taskqueue.exchange.type) == (QueueType.QUORUM, ExchangeType.DIRECT)
    worker = taskqueue.spec.worker
    assert (worker.concurrency, worker.most_prefetch, worker.task_timeout_seconds) == (1, 1, 870)
    assert (taskqueue.spec.deletion_policy, taskqueue.spec.broker.vhost) == (DeletionPolicy.RETAIN, None)
    assert Policy.of(taskqueue) == Policy(max_replicas=20)
    assert (Policy(20).min_replicas, Policy(20).ready_per_replica, Policy(20).mode) == (0, 20, Mode.AUTO)


def test_external_queues_are_consumed_together_and_declared_by_others() -> None:
    several = parsed(MINIMAL | {"externalQueues": ["mails", "celery"]})
    assert (several.queue_names, several.queue_name) == (("mails", "celery"), "mails")
    assert (several.declared_queues, several.delays_retries) == ((), False)
    assert parsed(MINIMAL).queue_names == ("thumbnails",)


@pytest.mark.parametrize(
    ("exchange", "bindings", "keys"),
    [
        ({}, None, [(None, "thumbnails")]),
        ({"type": "Topic"}, None, [(None, "#")]),
        ({"type": "Fanout"}, None, [(None, "")]),
        ({"type": "ConsistentHash"}, None, [(None, "1")]),
        ({"type": "Topic"}, [{"routingKey": "a.*"}, {"routingKey": "b"}], [(None, "a.*"), (None, "b")]),
        ({"type": "Topic"}, [{"exchange": "events", "routingKey": "a"}], [(None, "#"), ("events", "a")]),
        ({}, [{"routingKey": "b"}, {"exchange": "events"}], [(None, "b"), ("events", None)]),
    ],
)
def test_a_spec_without_binding_from_its_exchange_has_one_that_depends_on_the_type(
    exchange: dict[str, str], bindings: list[dict[str, str]] | None, keys: list[tuple[str | None, str | None]]
) -> None:
    spec = MINIMAL | {"exchange": exchange} | ({"bindings": bindings} if bindings else {})
    assert [(binding.exchange, binding.routing_key) for binding in parsed(spec).bindings] == keys


def test_prefetch_defaults_to_concurrency() -> None:
    default = parsed(MINIMAL | {"worker": {"image": "a", "concurrency": 4}})
    explicit = parsed(MINIMAL | {"worker": {"image": "a", "concurrency": 4, "prefetch": 8}})
    assert (default.spec.worker.most_prefetch, explicit.spec.worker.most_prefetch) == (4, 8)


@pytest.mark.parametrize(("concurrency", "most"), [(1, 50), (50, 50), (51, 51)])
def test_with_auto_a_worker_prefetches_at_most_50_messages_or_its_concurrency(concurrency: int, most: int) -> None:
    auto = parsed(MINIMAL | {"worker": {"image": "a", "concurrency": concurrency, "prefetch": "Auto"}})
    assert auto.spec.worker.most_prefetch == most


def test_an_older_operator_ignores_unknown_fields() -> None:
    newer = copy.deepcopy(MINIMAL) | {"chaos": {"kills": 5}}
    newer["scaling"]["forecast"] = [{"name": "office"}]
    newer["broker"]["secretRef"]["namespace"] = "other"
    assert parsed(newer) == parsed(MINIMAL)


@pytest.mark.parametrize(("path", "spec"), REJECTED.values(), ids=REJECTED.keys())
def test_the_fault_of_an_invalid_spec_names_the_field(path: str, spec: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        parsed(spec)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert caught.value.terminal
    assert caught.value.message.startswith(path)


def test_the_message_of_an_invalid_spec_says_how_to_fix_it() -> None:
    with pytest.raises(Fault) as caught:
        parsed(changed("worker.concurrency", 0))
    assert_approved("resource.invalid_spec", caught.value.message)


def test_two_variables_with_the_same_name_are_rejected() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    with pytest.raises(Fault) as caught:
        parsed(MINIMAL | {"worker": {"image": "a", "env": env}})
    assert_approved("resource.duplicate_variable", caught.value.message)


def test_a_fault_does_not_contain_the_invalid_value() -> None:
    """Users write passwords into wrong fields."""
    with pytest.raises(Fault) as caught:
        parsed(MINIMAL | {"worker": {"image": "a", "env": [{"name": "PASSWORD", "value": ["hunter2"]}]}})
    assert "hunter2" not in caught.value.message


def test_deletion_and_finalizers_are_parsed() -> None:
    taskqueue = parsed(MINIMAL, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["a", names.FINALIZER])
    assert taskqueue.deleting
    assert taskqueue.finalizers == ("a", names.FINALIZER)
    assert not parsed(MINIMAL).deleting


def test_environment_variables_keep_fields_that_the_models_do_not_know() -> None:
    fields = parsed(ACCEPTED["everything"]).spec.worker.container_fields()
    assert fields == {
        name: ACCEPTED["everything"]["worker"][name]
        for name in ("image", "command", "args", "env", "envFrom", "resources")
    }


def test_derived_names() -> None:
    key = Key("media", "thumbnails")
    assert str(key) == "media/thumbnails"
    assert names.owner("default", key) == "default/media/thumbnails"
    assert (names.private_exchange("a"), names.dead_letter_queue("a"), names.fence_name("a")) == (
        "a.in",
        "a.dlq",
        "a.fence",
    )
    assert names.FINALIZER == "taskqueue.dev/topology"


def test_names_that_are_derived_from_the_longest_queue_name_fit_into_amqp() -> None:
    longest = ACCEPTED["longest queue name"]["queue"]["name"]
    derived = (names.private_exchange(longest), names.dead_letter_queue(longest), names.fence_name(longest))
    assert max(len(name.encode()) for name in derived) <= 255


def test_a_spec_that_is_too_long_is_a_fault_that_names_the_way_out() -> None:
    with pytest.raises(Fault) as caught:
        parsed(changed("worker.podTemplate", {"spec": {"hostname": "x" * SPEC_CHARACTERS}}))
    assert (caught.value.reason, caught.value.terminal) == (Reason.INVALID_SPEC, True)
    assert_approved("spec.too_long", caught.value.message)


def test_an_object_beyond_a_bound_is_a_fault_that_names_the_field() -> None:
    with pytest.raises(Fault) as caught:
        TaskQueue.parse(
            {"metadata": IDENTITY, BEYOND_BOUNDS: "spec.worker.podTemplate is nested deeper than 64 levels"}
        )
    assert_approved("spec.beyond_bounds", caught.value.message)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=10,
)
PARTS = {name: VALUES | st.just(value) for name, value in ACCEPTED["everything"].items()}


@given(st.fixed_dictionaries({}, optional=PARTS) | VALUES)
def test_any_spec_is_parsed_or_a_fault(spec: Any) -> None:  # noqa: ANN401  JSON
    try:
        parsed(spec)
    except Fault as fault:
        assert fault.reason is Reason.INVALID_SPEC  # noqa: PT017  most are refused, not all
        assert len(fault.message) <= FAULT_CHARACTERS  # noqa: PT017  likewise


@pytest.mark.parametrize(
    ("spec", "delays"),
    [
        ({}, True),
        ({"retry": {"maxAttempts": 2}}, True),
        ({"retry": {"maxAttempts": 1}}, False),
        ({"worker": {"image": "acme/celery:1", "protocol": "Plain"}}, False),
        ({"queue": {"name": "celery", "external": True}}, False),
    ],
)
def test_workers_of_the_project_delay_retries_where_they_can_return(spec: dict[str, Any], *, delays: bool) -> None:
    body = {"metadata": {"namespace": "media", "name": "jobs", "uid": "1", "resourceVersion": "1"}}
    assert TaskQueue.parse(body | {"spec": MINIMAL | spec}).delays_retries is delays


def test_shards_take_the_place_of_the_queue_and_share_its_dead_letter_queue() -> None:
    sharded = parsed(changed("queue", {"name": "a", "shards": {"count": 2, "hashOn": "tenant"}}))
    assert (sharded.queue_name, sharded.queue_names, sharded.declared_queues) == ("a", ("a.0", "a.1"), ("a.0", "a.1"))
    assert sharded.dead_letter_queues == ("a.dlq",)
    assert sharded.hold_seconds == 870 * 3 + 60, "two queues, and a round after an undrain"
    several = parsed(changed("externalQueues", ["a", "b"]))
    assert several.dead_letter_queues == ("a.dlq", "b.dlq")
    assert (sharded.is_divided, several.is_divided, parsed(MINIMAL).is_divided) == (True, False, False)
