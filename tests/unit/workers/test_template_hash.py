from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, Field, create_model

from taskqueue_operator.resource.retry import Backoff, DeadLetter, Retry
from taskqueue_operator.resource.spec import Spec
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.resource.worker import Worker
from taskqueue_operator.workers import deployment as builder
from taskqueue_operator.workers import template_hash as template_hash_module
from taskqueue_operator.workers.template_hash import FIRST_DEFAULTS, template_hash

from .conftest import Make

BROKER = {"secretRef": {"name": "rabbitmq"}}


def test_the_hash_does_not_change_between_versions(make: Make) -> None:
    """A hash that changes with the version of the operator would restart all workers at an upgrade."""
    assert template_hash(make()) == "5789a70907a9aa79"
    assert template_hash(make(concurrency=4, env=[{"name": "A", "value": ""}])) == "48bb089beade7105"


@pytest.mark.parametrize(
    ("part", "model"), [("worker", Worker), ("retry", Retry), ("backoff", Backoff), ("deadLetter", DeadLetter)]
)
def test_each_field_with_a_default_has_a_first_default_that_never_changes(part: str, model: type[BaseModel]) -> None:
    defaults = {
        field.alias or name
        for name, field in model.model_fields.items()
        if not field.is_required() and field.default is not None
    }
    assert FIRST_DEFAULTS[part].keys() == defaults, "a new field: add its default"


def test_a_changed_default_does_not_change_the_hash_of_an_object_that_has_the_former_one(make: Make) -> None:
    """The API server has written the default of that time into the object."""

    class Newer(Worker):
        task_timeout_seconds: int = Field(900)

    assert template_hash(of_a_newer_version(make(taskTimeoutSeconds=870), Newer)) == template_hash(make())
    assert template_hash(of_a_newer_version(make(taskTimeoutSeconds=900), Newer)) != template_hash(make())


def test_another_version_of_the_template_changes_every_hash(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    before = template_hash(make())
    monkeypatch.setattr(template_hash_module, "TEMPLATE_VERSION", 2)
    assert template_hash(make()) != before


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
        {"adoptionPolicy": "IfMatching", "deletionPolicy": "Delete"},
        {"exchange": {"type": "Topic"}, "bindings": [{"routingKey": "a.#"}]},
        {"queue": {"type": "Classic", "maxPriority": 5}},
        {"queue": {"name": "thumbnails", "maxLength": 5, "messageTtlSeconds": 60, "singleActiveConsumer": True}},
        {"retry": {"maxAttempts": 5}},
        {"deadLetter": {"messageTtlSeconds": 60, "maxLength": 5}},
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

    upgraded = of_a_newer_version(make(env=[{"name": "A", "value": "1"}]), Newer)
    monkeypatch.setattr(builder, "GRACE_MARGIN_SECONDS", 99)
    assert template_hash(upgraded) == before


def of_a_newer_version(taskqueue: TaskQueue, newer: type[Worker]) -> TaskQueue:
    """Return the TaskQueue as an operator with another model of spec.worker parses it."""
    model: type[Spec] = create_model("NewerSpec", __base__=Spec, worker=(newer, ...))
    fields = taskqueue.spec.model_dump(by_alias=True, exclude_unset=True)
    return replace(taskqueue, spec=model.model_validate(fields))
