"""For TASKQUEUE_MODULES, beside the tasks: RabbitMQ closes a connection from which it has heard nothing for 4 s."""

from taskqueue_drain import broker

SECONDS = 2
broker.HEARTBEAT_SECONDS = SECONDS  # type: ignore[misc]  # a constant everywhere else
