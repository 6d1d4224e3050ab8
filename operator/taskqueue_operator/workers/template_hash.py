"""Hash of the spec fields that determine the pod template of the workers."""

import hashlib
import json

from taskqueue_operator.resource.taskqueue import TaskQueue

from .contract import secret_name


def template_hash(taskqueue: TaskQueue) -> str:
    """Return the hash as 16 hex digits.

    It covers only fields that differ from their default, and nothing that the builder adds. So workers are restarted
    neither by an operator that knows more fields or builds another template, nor by a change of `spec.scaling`.
    """
    spec = taskqueue.spec
    worker = spec.worker.model_dump(
        # acksLate describes the workers, but does not change their pods.
        mode="json",
        by_alias=True,
        exclude={"secret_ref", "acks_late"},
        exclude_none=True,
        exclude_defaults=True,
    )
    settings = spec.model_dump(
        mode="json", by_alias=True, include={"retry", "dead_letter"}, exclude_none=True, exclude_defaults=True
    )
    fields = {
        "worker": worker,
        "queue": taskqueue.queue_name,
        "secret": secret_name(taskqueue),
        **({"vhost": spec.broker.vhost} if spec.broker.vhost is not None else {}),
        **{name: value for name, value in settings.items() if value},
    }
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
