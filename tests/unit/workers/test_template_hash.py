from typing import Any

import pytest
from pydantic import Field

from taskqueue_operator.resource import taskqueue as module
from taskqueue_operator.resource.worker import Worker
from taskqueue_operator.workers import deployment as builder
from taskqueue_operator.workers.template_hash import digest

from .conftest import Make

BROKER = {"secretRef": {"name": "rabbitmq"}}


def test_it_is_what_it_has_always_been(make: Make) -> None:
    """A digest that moves with a version of the operator restarts every worker there is."""
    assert digest(make()) == "b011d340f13dc84b"
    assert digest(make(concurrency=4, env=[{"name": "A", "value": ""}])) == "1dc9110615deb5d8"


@pytest.mark.parametrize(
    "worker",
    [
        {"image": "acme/app:1.5"},
        {"command": ["run"]},
        {"args": ["x"]},
        {"env": [{"name": "A", "value": "1"}]},
        {"envFrom": [{"secretRef": {"name": "a"}}]},
        {"resources": {"limits": {"cpu": 1}}},
        {"secretRef": {"name": "other"}},
        {"concurrency": 2},
        {"prefetch": 2},
        {"taskTimeoutSeconds": 10},
        {"protocol": "Plain"},
        {"podTemplate": {"spec": {"serviceAccountName": "a"}}},
        {"podTemplate": {"spec": {"containers": [{"name": "worker", "startupProbe": None}]}}},
    ],
    ids=lambda worker: next(iter(worker)),
)
def test_it_moves_with_every_field_of_the_worker(make: Make, worker: dict[str, Any]) -> None:
    assert digest(make(**worker)) != digest(make())


@pytest.mark.parametrize(
    "spec",
    [{"queue": {"name": "other"}}, {"broker": BROKER | {"vhost": "v"}}, {"broker": {"secretRef": {"name": "other"}}}],
)
def test_it_moves_with_what_else_feeds_the_template(make: Make, spec: dict[str, Any]) -> None:
    assert digest(make(spec=spec)) != digest(make())


@pytest.mark.parametrize(
    "spec",
    [
        {"scaling": {"maxReplicas": 3, "minReplicas": 1, "mode": "Paused", "pausedReplicas": 2, "readyPerReplica": 7}},
        {"deletionPolicy": "Delete"},
        {"exchange": {"type": "Topic"}, "bindings": [{"routingKey": "a.#"}]},
        {"queue": {"type": "Classic", "maxPriority": 5}},
        {"queue": {"name": "thumbnails"}},
    ],
)
def test_it_stays_with_all_that_does_not(make: Make, spec: dict[str, Any]) -> None:
    assert digest(make(spec=spec)) == digest(make())


def test_a_default_written_out_is_no_change(make: Make) -> None:
    assert digest(make(concurrency=1, taskTimeoutSeconds=870, protocol="TaskQueue")) == digest(make())
    assert digest(make(secretRef={"name": "rabbitmq"})) == digest(make())


def test_what_is_only_said_of_the_workers_restarts_none(make: Make) -> None:
    assert digest(make(protocol="Plain", acksLate=True)) == digest(make(protocol="Plain"))


def test_the_order_of_keys_is_no_change(make: Make) -> None:
    one = make(podTemplate={"metadata": {"labels": {"a": "1", "b": "2"}}})
    other = make(podTemplate={"metadata": {"labels": {"b": "2", "a": "1"}}})
    assert digest(one) == digest(other)


def test_a_newer_operator_with_more_fields_and_another_template_restarts_nobody(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest(make(env=[{"name": "A", "value": "1"}]))

    class Newer(Worker):
        drain_seconds: int = Field(30)
        warm_up: bool | None = Field(None)

    newer = module.Spec.model_validate(
        {
            "broker": BROKER,
            "worker": {"image": "acme/app:1.4", "env": [{"name": "A", "value": "1"}]},
            "scaling": {"maxReplicas": 20},
        }
    )
    grown = newer.model_copy(update={"worker": Newer.model_validate(newer.worker.model_dump(by_alias=True))})
    taskqueue = make()
    upgraded = module.TaskQueue(
        key=taskqueue.key,
        uid=taskqueue.uid,
        generation=1,
        resource_version="1",
        deleting=False,
        finalizers=(),
        spec=grown,
    )
    monkeypatch.setattr(builder, "GRACE_MARGIN_SECONDS", 99)
    assert digest(upgraded) == before
