"""Every CEL rule takes what is in order and refuses what is not, in the words that users read."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from taskqueue_operator.resource import crd
from tests.cluster.control_plane import ControlPlane
from tests.unit.resource.specs import MINIMAL, changed

from .conftest import Write

OTHER = "Make another TaskQueue, and delete this one when its queue is empty."
SCHEDULE = {"name": "office", "start": "0 8 * * *", "end": "0 18 * * *", "minReplicas": 1}
EXTERNAL = {"name": "celery", "external": True}


@dataclass(frozen=True)
class Rule:
    """A message, the field that it names, and specs on either side."""

    field: str
    message: str
    accepted: dict[str, Any]
    rejected: dict[str, Any]
    name: str = "thumbnails"
    rejected_name: str = "thumbnails"


RULES = {
    "min above max": Rule(
        "spec.scaling.minReplicas",
        "minReplicas is above maxReplicas. Lower minReplicas or raise maxReplicas.",
        changed("scaling", {"minReplicas": 3, "maxReplicas": 3}),
        changed("scaling", {"minReplicas": 4, "maxReplicas": 3}),
    ),
    "pausedReplicas without Paused": Rule(
        "spec.scaling.pausedReplicas",
        "pausedReplicas works only with mode: Paused. Set the mode, or remove pausedReplicas.",
        changed("scaling", {"maxReplicas": 3, "mode": "Paused", "pausedReplicas": 0}),
        changed("scaling", {"maxReplicas": 3, "pausedReplicas": 0}),
    ),
    "a schedule above max": Rule(
        "spec.scaling.schedules",
        "A schedule's minReplicas is above maxReplicas. Lower it or raise maxReplicas.",
        changed("scaling", {"maxReplicas": 3, "schedules": [SCHEDULE | {"minReplicas": 3}]}),
        changed("scaling", {"maxReplicas": 3, "schedules": [SCHEDULE | {"minReplicas": 4}]}),
    ),
    "a time zone there is not": Rule(
        "spec.scaling.schedules[0].timeZone",
        "timeZone is not in the time zone database. Write it as in Europe/Paris.",
        changed("scaling.schedules", [SCHEDULE | {"timeZone": "America/Argentina/Buenos_Aires"}]),
        changed("scaling.schedules", [SCHEDULE | {"timeZone": "Europe/Pari"}]),
    ),
    "a schedule of no time": Rule(
        "spec.scaling.schedules[0].end",
        "end is the same as start. Set another time.",
        changed("scaling.schedules", [SCHEDULE]),
        changed("scaling.schedules", [SCHEDULE | {"end": SCHEDULE["start"]}]),
    ),
    "a fallback above max": Rule(
        "spec.scaling.fallback.replicas",
        "fallback.replicas is above maxReplicas. Lower it or raise maxReplicas.",
        changed("scaling", {"maxReplicas": 3, "fallback": {"replicas": 3}}),
        changed("scaling", {"maxReplicas": 3, "fallback": {"replicas": 4}}),
    ),
    "a fallback without a number": Rule(
        "spec.scaling.fallback.replicas",
        "fallback.replicas is needed, except with behavior: Current, which keeps the number there is.",
        changed("scaling.fallback", {"behavior": "Current"}),
        changed("scaling.fallback", {"behavior": "AtMost"}),
    ),
    "prefetch below concurrency": Rule(
        "spec.worker.prefetch",
        "prefetch must be at least concurrency, or tasks could never fill the worker. Raise prefetch, or remove it: "
        "it is concurrency by default.",
        changed("worker", {"image": "a", "concurrency": 4, "prefetch": 4}),
        changed("worker", {"image": "a", "concurrency": 4, "prefetch": 3}),
    ),
    "acksLate of workers that are not Plain": Rule(
        "spec.worker.acksLate",
        "acksLate is about workers of protocol Plain; others always acknowledge late. Remove acksLate, or set "
        "protocol: Plain.",
        changed("worker", {"image": "a", "protocol": "Plain", "acksLate": True}),
        changed("worker", {"image": "a", "acksLate": False}),
    ),
    "maxPriority with Quorum": Rule(
        "spec.queue.maxPriority",
        "maxPriority is for Classic queues. Quorum queues know priorities without it: remove maxPriority, or set "
        "type: Classic.",
        changed("queue", {"type": "Classic", "maxPriority": 5}),
        changed("queue", {"maxPriority": 5}),
    ),
    "external without a name": Rule(
        "spec.queue",
        "An external queue needs queue.name: the name of the queue that exists.",
        MINIMAL | {"queue": EXTERNAL},
        MINIMAL | {"queue": {"external": True}},
    ),
    "external with an exchange": Rule(
        "spec.queue",
        "An external queue is never bound. Remove exchange and bindings, or external: true.",
        MINIMAL | {"queue": EXTERNAL},
        MINIMAL | {"queue": EXTERNAL, "exchange": {"name": "tasks"}},
    ),
    "external with bindings": Rule(
        "spec.queue",
        "An external queue is never bound. Remove exchange and bindings, or external: true.",
        MINIMAL | {"queue": {"name": "celery"}, "bindings": [{"routingKey": "a"}]},
        MINIMAL | {"queue": EXTERNAL, "bindings": [{"routingKey": "a"}]},
    ),
    "external with a deletionPolicy": Rule(
        "spec.deletionPolicy",
        "An external queue is never deleted. Set deletionPolicy: Retain, or remove external: true.",
        MINIMAL | {"queue": EXTERNAL, "deletionPolicy": "Retain"},
        MINIMAL | {"queue": EXTERNAL, "deletionPolicy": "Delete"},
    ),
    "Fanout with bindings": Rule(
        "spec.bindings",
        "A Fanout exchange ignores routing keys. Remove bindings, or set exchange.type: Topic.",
        MINIMAL | {"exchange": {"type": "Topic"}, "bindings": [{"routingKey": "a"}]},
        MINIMAL | {"exchange": {"type": "Fanout"}, "bindings": [{"routingKey": "a"}]},
    ),
    "a name too long": Rule(
        "",
        "The name is longer than 63 characters, which a label of the pods cannot hold. Choose a shorter name.",
        MINIMAL,
        MINIMAL,
        name="n" * 63,
        rejected_name="n" * 64,
    ),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_rule_takes_what_is_in_order(write: Write, rule: Rule) -> None:
    write(rule.accepted, name=rule.name, verb="create")


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_the_rule_says_what_is_wrong_where_and_the_way_out(write: Write, rule: Rule) -> None:
    with pytest.raises(RuntimeError) as caught:
        write(rule.rejected, name=rule.rejected_name, verb="create")
    said = str(caught.value)
    assert f'The TaskQueue "{rule.rejected_name}" is invalid: {rule.field}' in said
    assert said.endswith(rule.message)
    assert said.count("Invalid value") == 1


@dataclass(frozen=True)
class Fixed:
    """A field that is fixed once the queue exists; `same` says the same in other words."""

    before: dict[str, Any] = field(default_factory=dict)
    same: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)


FIXED = {
    "spec.queue.name set": Fixed({}, {"queue": {"name": "{name}"}}, {"queue": {"name": "other"}}),
    "spec.queue.name unset": Fixed({"queue": {"name": "media"}}, {"queue": {"name": "media"}}, {}),
    "spec.exchange.name set": Fixed({}, {"exchange": {"name": "{name}"}}, {"exchange": {"name": "other"}}),
    "spec.exchange.name unset": Fixed(
        {"exchange": {"name": "tasks"}}, {"exchange": {"name": "tasks"}}, {"exchange": {}}
    ),
    "spec.broker.vhost set": Fixed({}, {}, {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "media"}}),
    "spec.broker.vhost changed": Fixed(
        {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "media"}},
        {"broker": {"secretRef": {"name": "another"}, "vhost": "media"}},
        {"broker": {"secretRef": {"name": "rabbitmq"}, "vhost": "other"}},
    ),
}


@pytest.mark.parametrize(("title", "fixed"), FIXED.items(), ids=FIXED.keys())
def test_names_may_change_only_until_the_queue_exists(
    api: ControlPlane, write: Write, namespace: str, title: str, fixed: Fixed
) -> None:
    path, _ = title.split()
    name = title.lower().replace(" ", "-")
    before, same, after = (
        MINIMAL | json.loads(json.dumps(change).replace("{name}", name))
        for change in (fixed.before, fixed.same, fixed.after)
    )
    write(before, name=name, dry=False)
    write(after, name=name, verb="replace")
    api.kubectl(
        "patch",
        "-n",
        namespace,
        "tq",
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        '{"status":{"queue":"media"}}',
    )
    write(same, name=name, verb="replace")
    with pytest.raises(RuntimeError) as caught:
        write(after, name=name, verb="replace")
    assert str(caught.value).endswith(f"{path} cannot change once the queue exists. {OTHER}")


def test_every_rule_has_its_examples() -> None:
    def messages(schema: dict[str, Any]) -> set[str]:
        inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
        own = {rule["message"] for rule in schema.get("x-kubernetes-validations", ())}
        return own.union(*map(messages, inner))

    root = crd.document()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    held = {rule.message for rule in RULES.values()}
    held |= {f"{title.split()[0]} cannot change once the queue exists. {OTHER}" for title in FIXED}
    assert messages(root) == held
