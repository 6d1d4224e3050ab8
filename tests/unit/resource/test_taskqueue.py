"""What a TaskQueue means: defaults, names, and what becomes of an object that does not fit."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskqueue_operator.resource import names
from taskqueue_operator.resource.broker import DeletionPolicy, ExchangeType, QueueType
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.scaling import Mode
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.scaling.policy import Policy

from .specs import ACCEPTED, MINIMAL, REJECTED

TEN_LINES = (Path(__file__).parents[3] / "deploy/samples/minimal.yaml").read_text()
IDENTITY = {"namespace": "media", "name": "thumbnails", "uid": "u", "resourceVersion": "7", "generation": 3}


def parsed(spec: dict[str, Any], **metadata: object) -> TaskQueue:
    return TaskQueue.parse({"metadata": IDENTITY | metadata, "spec": spec})


def test_the_ten_lines_of_the_design_are_a_whole_taskqueue() -> None:
    body = yaml.safe_load(TEN_LINES)
    body["metadata"] = IDENTITY | body["metadata"]
    taskqueue = TaskQueue.parse(body)
    assert taskqueue.key == Key("media", "thumbnails")
    assert (taskqueue.queue_name, taskqueue.exchange_name, taskqueue.routing_keys) == (
        "thumbnails",
        "thumbnails",
        ("thumbnails",),
    )
    assert (taskqueue.queue.type, taskqueue.exchange.type) == (QueueType.QUORUM, ExchangeType.DIRECT)
    worker = taskqueue.spec.worker
    assert (worker.concurrency, worker.effective_prefetch, worker.task_timeout_seconds) == (1, 1, 870)
    assert (taskqueue.spec.deletion_policy, taskqueue.spec.broker.vhost) == (DeletionPolicy.RETAIN, None)
    assert Policy.of(taskqueue) == Policy(max_replicas=20)
    assert (Policy(20).min_replicas, Policy(20).ready_per_replica, Policy(20).mode) == (0, 20, Mode.AUTO)


def test_the_sample_is_those_ten_lines() -> None:
    assert (Path(__file__).parents[3] / "deploy/samples/minimal.yaml").read_text() == TEN_LINES


@pytest.mark.parametrize(
    ("exchange", "bindings", "keys"),
    [
        ({}, None, ("thumbnails",)),
        ({"type": "Topic"}, None, ("#",)),
        ({"type": "Fanout"}, None, ("",)),
        ({"type": "Topic"}, [{"routingKey": "a.*"}, {"routingKey": "b"}], ("a.*", "b")),
    ],
)
def test_the_routing_keys_follow_from_the_exchange(
    exchange: dict[str, str], bindings: list[dict[str, str]] | None, keys: tuple[str, ...]
) -> None:
    spec = MINIMAL | {"exchange": exchange} | ({"bindings": bindings} if bindings else {})
    assert parsed(spec).routing_keys == keys


def test_prefetch_is_concurrency_unless_it_is_set() -> None:
    four = parsed(MINIMAL | {"worker": {"image": "a", "concurrency": 4}})
    eight = parsed(MINIMAL | {"worker": {"image": "a", "concurrency": 4, "prefetch": 8}})
    assert (four.spec.worker.effective_prefetch, eight.spec.worker.effective_prefetch) == (4, 8)


def test_an_older_operator_ignores_what_it_does_not_know() -> None:
    newer = copy.deepcopy(MINIMAL) | {"retry": {"maxAttempts": 5}}
    newer["scaling"]["forecast"] = [{"name": "office"}]
    newer["broker"]["secretRef"]["namespace"] = "other"
    assert parsed(newer) == parsed(MINIMAL)


@pytest.mark.parametrize(("path", "spec"), REJECTED.values(), ids=REJECTED.keys())
def test_what_does_not_fit_names_its_field_and_the_way_out(path: str, spec: dict[str, Any]) -> None:
    with pytest.raises(Fault) as caught:
        parsed(spec)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert caught.value.terminal
    assert caught.value.message.startswith(path)
    assert caught.value.message.endswith("Correct the field, or install the CRD of this operator's version.")


def test_two_variables_of_one_name_are_refused() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    with pytest.raises(Fault, match=r"^spec\.worker: Value error, env: names must be unique"):
        parsed(MINIMAL | {"worker": {"image": "a", "env": env}})


def test_a_fault_does_not_quote_what_was_written() -> None:
    """People put passwords into the wrong fields."""
    with pytest.raises(Fault) as caught:
        parsed(MINIMAL | {"worker": {"image": "a", "env": [{"name": "PASSWORD", "value": ["hunter2"]}]}})
    assert "hunter2" not in caught.value.message


def test_deletion_and_finalizers_are_seen() -> None:
    taskqueue = parsed(MINIMAL, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["a", names.FINALIZER])
    assert taskqueue.deleting
    assert taskqueue.finalizers == ("a", names.FINALIZER)
    assert not parsed(MINIMAL).deleting


def test_variables_keep_what_only_kubernetes_knows() -> None:
    fields = parsed(ACCEPTED["everything"]).spec.worker.container_fields()
    assert fields == {
        name: ACCEPTED["everything"]["worker"][name]
        for name in ("image", "command", "args", "env", "envFrom", "resources")
    }


def test_every_name_is_derived_in_one_place() -> None:
    key = Key("media", "thumbnails")
    assert str(key) == "media/thumbnails"
    assert names.owner("default", key) == "default/media/thumbnails"
    assert (names.private_exchange("a"), names.dead_letter_queue("a"), names.fence_name("a")) == (
        "a.in",
        "a.dlq",
        "a.fence",
    )
    assert names.FINALIZER == "taskqueue.dev/topology"


def test_the_longest_queue_name_leaves_room_for_what_is_derived_from_it() -> None:
    longest = ACCEPTED["longest queue name"]["queue"]["name"]
    derived = (names.private_exchange(longest), names.dead_letter_queue(longest), names.fence_name(longest))
    assert max(len(name.encode()) for name in derived) <= 255
