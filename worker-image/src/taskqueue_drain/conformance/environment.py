"""The environment of docs/worker-contract.md for a worker under test."""

import os
from collections.abc import Mapping
from typing import Final

PREFETCH: Final = 4
NOT_INHERITED: Final = ("SERVICE_BINDING_ROOT", "TASKQUEUE_VHOST")
"""Variables that would lead the worker to another broker or vhost."""


def worker_environment(url: str, queue: str, identity: Mapping[str, object], *, http_port: int) -> dict[str, str]:
    """Build the environment of a worker with this URL of the broker, and with the identity that its reports have."""
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return inherited | {
        "RABBITMQ_URL": url,
        "TASKQUEUE_CONCURRENCY": "1",
        "TASKQUEUE_CONTRACT": "1",
        "TASKQUEUE_HTTP_PORT": str(http_port),
        "TASKQUEUE_NAME": str(identity["taskqueue"]),
        "TASKQUEUE_POD_UID": str(identity["pod"]),
        "TASKQUEUE_PREFETCH": str(PREFETCH),
        "TASKQUEUE_QUEUES": queue,
        "TASKQUEUE_TASK_TIMEOUT_SECONDS": str(identity["task_timeout_seconds"]),
    }
