"""For `-I`: from the second connect on, Celery does not do what it believes to do."""

import os
from typing import Any

from celery.worker import loops

_loop = loops.asynloop


def _silent(consumer: Any, connection: Any, tasks: Any, *rest: Any) -> None:  # noqa: ANN401 - Celery has no types
    silence = os.environ["SILENCE"] if consumer.restart_count else ""
    if silence == "reads nothing":
        register = consumer.register_with_event_loop

        def deafen(hub: Any) -> None:  # noqa: ANN401 - likewise
            register(hub)
            hub.remove_reader(connection.connection.sock)

        consumer.register_with_event_loop = deafen
    if silence == "asks for nothing":
        tasks.consume = lambda: None
    _loop(consumer, connection, tasks, *rest)


loops.asynloop = _silent
