from collections.abc import Callable
from typing import Any

import pytest

from taskqueue_operator.resource.taskqueue import TaskQueue

Make = Callable[..., TaskQueue]


@pytest.fixture
def make() -> Make:
    """Return a builder of TaskQueue media/thumbnails with the given fields of spec.worker, or parts of the spec."""

    def taskqueue(*, spec: dict[str, Any] | None = None, **worker: object) -> TaskQueue:
        return TaskQueue.parse(
            {
                "metadata": {"namespace": "media", "name": "thumbnails", "uid": "u", "resourceVersion": "1"},
                "spec": {
                    "broker": {"secretRef": {"name": "rabbitmq"}},
                    "worker": {"image": "acme/app:1.4"} | worker,
                    "scaling": {"maxReplicas": 20},
                }
                | (spec or {}),
            }
        )

    return taskqueue
