from typing import Any

import pytest
from pydantic import Field

from taskqueue_operator.resource import taskqueue as module
from taskqueue_operator.resource.worker import Worker
from taskqueue_operator.workers import deployment as builder
from taskqueue_operator.workers.template_hash import template_hash

from .conftest import Make

BROKER = {"secretRef": {"name": "rabbitmq"}}


def test_the_hash_does_not_change_between_versions(make: Make) -> None:
    """A hash that changes with the version of the operator would restart all workers at an upgrade."""
    assert template_hash(make()) == "b011d340f13dc84b"
    assert template_hash(make(concurrency=4, env=[{"name": "A", "value": ""}])) == "1dc9110615deb5d8"


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
def test_the_hash_depends_on_every_field_of_the_worker(make: Make, worker: dict[str, Any]) -> None:
    assert template_hash(make(**worker)) != template_hash(make())


@pytest.mark.parametrize(
    "spec",
    [
        {"queue": {"name": "other"}},
        {"broker": BROKER | {"vhost": "v"}},
        {"broker": {"secretRef": {"name": "other"}}},
        {"retry": {"maxAttempts": 2}},
        {"deadLetter": {"exchange": "dlx"}},
    ],
)
def test_the_hash_depends_on_every_other_field_of_the_contract(make: Make, spec: dict[str, Any]) -> None:
    assert template_hash(make(spec=spec)) != template_hash(make())


@pytest.mark.parametrize(
    "spec",
    [
        {"scaling": {"maxReplicas": 3, "minReplicas": 1, "mode": "Paused", "pausedReplicas": 2, "readyPerReplica": 7}},
        {"deletionPolicy": "Delete"},
        {"exchange": {"type": "Topic"}, "bindings": [{"routingKey": "a.#"}]},
        {"queue": {"type": "Classic", "maxPriority": 5}},
        {"queue": {"name": "thumbnails"}},
        {"retry": {"maxAttempts": 5}},
    ],
)
def test_the_hash_does_not_depend_on_other_fields(make: Make, spec: dict[str, Any]) -> None:
    assert template_hash(make(spec=spec)) == template_hash(make())


def test_an_explicit_default_does_not_change_the_hash(make: Make) -> None:
    assert template_hash(make(concurrency=1, taskTimeoutSeconds=870, protocol="TaskQueue")) == template_hash(make())
    assert template_hash(make(secretRef={"name": "rabbitmq"})) == template_hash(make())


def test_acks_late_does_not_change_the_hash(make: Make) -> None:
    assert template_hash(make(protocol="Plain", acksLate=True)) == template_hash(make(protocol="Plain"))


def test_the_order_of_keys_does_not_change_the_hash(make: Make) -> None:
    first = make(podTemplate={"metadata": {"labels": {"a": "1", "b": "2"}}})
    second = make(podTemplate={"metadata": {"labels": {"b": "2", "a": "1"}}})
    assert template_hash(first) == template_hash(second)


def test_an_operator_with_more_fields_and_another_template_has_the_same_hash(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = template_hash(make(env=[{"name": "A", "value": "1"}]))

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
    extended = newer.model_copy(update={"worker": Newer.model_validate(newer.worker.model_dump(by_alias=True))})
    taskqueue = make()
    upgraded = module.TaskQueue(
        key=taskqueue.key,
        uid=taskqueue.uid,
        generation=1,
        resource_version="1",
        deleting=False,
        finalizers=(),
        spec=extended,
    )
    monkeypatch.setattr(builder, "GRACE_MARGIN_SECONDS", 99)
    assert template_hash(upgraded) == before
