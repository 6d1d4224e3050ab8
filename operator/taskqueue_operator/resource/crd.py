"""The CustomResourceDefinition, made from the models: the one source of what users may write."""

from typing import Any, Final

from .fields import rule
from .names import GROUP, KIND, PLURAL, VERSION
from .schema import structural
from .status import Status
from .taskqueue import Spec

_ESTABLISHED: Final = "!has(oldSelf.status) || !has(oldSelf.status.queue)"
_WAY_OUT: Final = "Make another TaskQueue, and delete this one when its queue is empty."


def _same(path: str, default: str) -> str:
    """Say in CEL that an optional field means what it meant; each step of the path may be absent."""
    parts = path.split(".")
    present = " && ".join(f"has({{self}}.spec.{'.'.join(parts[: n + 1])})" for n in range(len(parts)))
    now, before = (
        (f"({present}) ? {{self}}.spec.{path} : {default}").replace("{self}", who) for who in ("self", "oldSelf")
    )
    return f"{_ESTABLISHED} || ({now}) == ({before})"


ROOT_RULES: Final = [
    rule(
        "size(self.metadata.name) <= 63",
        "The name is longer than 63 characters, which a label of the pods cannot hold. Choose a shorter name.",
    ),
    rule(_same("broker.vhost", "''"), f"spec.broker.vhost cannot change once the queue exists. {_WAY_OUT}"),
    rule(_same("queue.name", "self.metadata.name"), f"spec.queue.name cannot change once the queue exists. {_WAY_OUT}"),
    rule(
        _same("exchange.name", "self.metadata.name"),
        f"spec.exchange.name cannot change once the queue exists. {_WAY_OUT}",
    ),
]


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


COLUMNS: Final = [
    ("Ready", "string", _condition("Ready", "status"), "Whether everything is as the spec asks."),
    ("Backlog", "integer", ".status.backlog.ready", "Messages that wait for a worker."),
    ("Workers", "integer", ".status.readyReplicas", "Workers that consume."),
    ("Desired", "integer", ".status.desiredReplicas", "Workers that the queue needs."),
    ("Max", "integer", ".spec.scaling.maxReplicas", "Never more workers."),
    ("Reason", "string", _condition("Ready", "reason"), "Why it is ready or not."),
    ("Age", "date", ".metadata.creationTimestamp", "Age of the TaskQueue."),
]


def document() -> dict[str, Any]:
    """Write the CRD as it is applied to a cluster."""
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
            {"name": name, "type": type_, "jsonPath": path, "description": description}
            for name, type_, path, description in COLUMNS
        ],
        "schema": {"openAPIV3Schema": _root()},
    }


def _root() -> dict[str, Any]:
    spec = structural(Spec) | {"description": "What the application team asks for."}
    status = structural(Status) | {"description": "What the operator sees and does."}
    return {
        "type": "object",
        "description": "A RabbitMQ queue, the workers that consume it, and how many of them there are.",
        "required": ["spec"],
        "x-kubernetes-validations": ROOT_RULES,
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
            "kind": {"type": "string", "description": "Kind of this object."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
