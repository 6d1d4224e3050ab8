"""Hash of the spec fields that determine the pod template of the workers."""

import hashlib
import json
from typing import Any, Final

from taskqueue_operator.resource.taskqueue import TaskQueue

from .contract import QUEUE_SEPARATOR, secret_name

TEMPLATE_VERSION: Final = 1
"""Version of the template that the operator builds from the same fields. Raise it only for a correction that running
workers must get: that restarts all workers of all TaskQueues at the upgrade, so it belongs in the changelog."""

FIRST_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "worker": {"protocol": "TaskQueue", "concurrency": 1, "taskTimeoutSeconds": 870},
    "retry": {"maxAttempts": 5},
    "backoff": {"type": "Exponential", "initialSeconds": 5, "maxSeconds": 3600},
    "deadLetter": {},
}
"""The default of each field of these parts of the spec in the version that introduced the field. It never changes here.

The API server writes defaults into objects: one that a user created without a field contains the default of that time.
So a field that a later version adds or whose default it changes leaves the hash of every existing TaskQueue as it is.
"""
_NOT_IN_PODS: Final = frozenset({"secretRef", "acksLate", "messageTtlSeconds", "maxLength"})
"""Fields that are hashed by their effect, or that describe workers or the broker without changing pods."""


def template_hash(taskqueue: TaskQueue) -> str:
    """Return the hash as 16 hex digits.

    It covers what the user wrote and the version of the template, and nothing else that the builder adds. So workers
    are restarted neither by an operator with other defaults, more fields or another template, nor by a change of
    `spec.scaling`.
    """
    spec = taskqueue.spec
    written = spec.model_dump(
        mode="json", by_alias=True, include={"worker", "retry", "dead_letter"}, exclude_none=True, exclude_unset=True
    )
    parts = {part: _without_first_defaults(part, fields) for part, fields in written.items()}
    fields = {
        "template": TEMPLATE_VERSION,
        **{part: fields for part, fields in parts.items() if fields},
        "queue": QUEUE_SEPARATOR.join(taskqueue.queue_names),
        "secret": secret_name(taskqueue),
        **({"vhost": spec.broker.vhost} if spec.broker.vhost is not None else {}),
    }
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _without_first_defaults(part: str, fields: dict[str, Any]) -> dict[str, Any]:
    defaults, kept = FIRST_DEFAULTS[part], {}
    for name, value in fields.items():
        rest = _without_first_defaults(name, value) if name in FIRST_DEFAULTS else value
        if name not in _NOT_IN_PODS and defaults.get(name, {} if name in FIRST_DEFAULTS else None) != rest:
            kept[name] = rest
    return kept
