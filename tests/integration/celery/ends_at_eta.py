"""For `-I`: SIGTERM comes while a task with an ETA is received, after which the event loop looks at nothing else."""

import os
import signal
from typing import Any

from celery import signals


@signals.task_received.connect  # type: ignore[untyped-decorator]  # Celery has no types
def _on_received(request: Any, **_: object) -> None:  # noqa: ANN401 - Celery has no types
    if request.eta:
        os.kill(os.getpid(), signal.SIGTERM)
