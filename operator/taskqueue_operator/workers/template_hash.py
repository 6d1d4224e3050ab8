"""What tells whether the workers' template is still the one that its spec asks for."""

import hashlib
import json

from taskqueue_operator.resource.taskqueue import TaskQueue

from .contract import secret_name


def digest(taskqueue: TaskQueue) -> str:
    """Sum up the fields that feed the template, as 16 hex digits.

    Only fields that differ from their default count, and nothing that the builder makes of them: so neither an operator
    that knows more fields or builds another template, nor a change of scaling, restarts workers.
    """
    spec = taskqueue.spec
    worker = spec.worker.model_dump(
        # What acksLate says of the workers changes nothing in them.
        mode="json",
        by_alias=True,
        exclude={"secret_ref", "acks_late"},
        exclude_none=True,
        exclude_defaults=True,
    )
    fed = {
        "worker": worker,
        "queue": taskqueue.queue_name,
        "secret": secret_name(taskqueue),
        **({"vhost": spec.broker.vhost} if spec.broker.vhost is not None else {}),
    }
    canonical = json.dumps(fed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
