"""The CustomResourceDefinition, generated from the models, which are the only source of the schema."""

from typing import Any, Final

from .fields import rule
from .names import GROUP, KIND, PLURAL, VERSION
from .schema import structural
from .spec import Spec, is_external
from .status import Status

_QUEUE_MISSING: Final = "!has(oldSelf.status) || !has(oldSelf.status.queue)"
_REPLACE: Final = "Create another TaskQueue, and delete this one when its queue is empty."


def _unchanged(path: str, default: str) -> str:
    """Return a CEL expression: the value of an optional field, or its default, is the same as before the update.

    Args:
        path: Path of the field below `spec`; the field and its parents may be absent.
        default: CEL expression of the value that an absent field stands for.
    """
    parts = path.split(".")
    present = " && ".join(f"has({{self}}.spec.{'.'.join(parts[: n + 1])})" for n in range(len(parts)))
    new, old = (
        (f"({present}) ? {{self}}.spec.{path} : {default}").replace("{self}", version)
        for version in ("self", "oldSelf")
    )
    return f"{_QUEUE_MISSING} || ({new}) == ({old})"


def _shards_kept() -> str:
    """Return a CEL expression: no shard is removed, and no message has another key than before the update."""
    has, had = (f"(has({version}.spec.queue) && has({version}.spec.queue.shards))" for version in ("self", "oldSelf"))
    new, old = "self.spec.queue.shards", "oldSelf.spec.queue.shards"
    return f"{has} ? {had} && {new}.count >= {old}.count && {new}.hashOn == {old}.hashOn : !{had}"


ROOT_RULES: Final = [
    rule(
        "size(self.metadata.name) <= 63",
        "metadata.name is longer than 63 characters, the limit of a pod label. Choose a shorter name.",
    ),
    rule(
        "!self.metadata.name.startsWith('taskqueue.') || has(self.spec.externalQueues) || "
        "(has(self.spec.queue) && has(self.spec.queue.name) && "
        "(self.spec.queue.external || (has(self.spec.exchange) && has(self.spec.exchange.name))))",
        "metadata.name begins with taskqueue., which the operator reserves for its own exchanges and queues. Choose "
        "another name, or set spec.queue.name and spec.exchange.name.",
    ),
    rule(_unchanged("broker.vhost", "''"), f"spec.broker.vhost cannot change once the queue exists. {_REPLACE}"),
    rule(
        f"({is_external('self.spec')} && {is_external('oldSelf.spec')}) || "
        + _unchanged("queue.name", "self.metadata.name"),
        f"spec.queue.name cannot change once the queue exists. {_REPLACE}",
    ),
    rule(
        _unchanged("exchange.name", "self.metadata.name"),
        f"spec.exchange.name cannot change once the queue exists. {_REPLACE}",
    ),
    rule(
        f"{_QUEUE_MISSING} || ({_shards_kept()})",
        "Of spec.queue.shards, only count can change once the queue exists, and only to a larger number: messages of a "
        f"removed shard would have no worker. {_REPLACE}",
    ),
    rule(
        "has(self.spec.worker.deploymentRef) == has(oldSelf.spec.worker.deploymentRef)",
        "spec.worker.image and spec.worker.deploymentRef cannot replace each other. Delete the TaskQueue with "
        "deletionPolicy: Retain, and create it with the other one (docs/existing-deployments.md).",
    ),
    rule(
        _unchanged("exchange.alternateExchange", "''"),
        f"spec.exchange.alternateExchange cannot change once the queue exists. {_REPLACE}",
    ),
]


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


COLUMNS: Final = [
    ("Ready", "string", _condition("Ready", "status"), "Whether broker, topology and workers match the spec."),
    ("Backlog", "integer", ".status.backlog.ready", "Number of ready messages in the queue."),
    ("Dead", "integer", ".status.deadLetters", "Number of messages in the dead-letter queue."),
    ("Workers", "integer", ".status.readyReplicas", "Number of ready worker pods."),
    ("Desired", "integer", ".status.desiredReplicas", "Number of worker pods that the operator has decided on."),
    ("Max", "integer", ".spec.scaling.maxReplicas", "Upper limit for replicas."),
    ("Reason", "string", _condition("Ready", "reason"), "Reason of the condition Ready."),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the TaskQueue."),
]
WIDE_COLUMNS: Final = [
    ("Unacked", "integer", ".status.backlog.unacked", "Number of messages that workers hold."),
    ("Delayed", "integer", ".status.backlog.delayed", "Number of messages that wait for a retry, at most."),
]
"""Columns of `kubectl get -o wide`."""


def document() -> dict[str, Any]:
    """Return the CRD manifest."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["tq"],
                "categories": ["messaging"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": type_, "jsonPath": path, "description": description} | priority
            for columns, priority in ((COLUMNS, {}), (WIDE_COLUMNS, {"priority": 1}))
            for name, type_, path, description in columns
        ],
        "schema": {"openAPIV3Schema": _root()},
    }


def _root() -> dict[str, Any]:
    spec = structural(Spec) | {"description": "Desired state of the queue and its workers."}
    status = structural(Status) | {"description": "Observed state of the queue and its workers."}
    return {
        "type": "object",
        "description": "A RabbitMQ queue and the autoscaled workers that consume it.",
        "required": ["spec"],
        "x-kubernetes-validations": ROOT_RULES,
        "properties": {
            "apiVersion": {"type": "string", "description": "API version of this object."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
