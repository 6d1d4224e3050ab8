"""The span around a publish, by whatever client."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.propagate import inject
from opentelemetry.trace import SpanKind, TracerProvider

from taskqueue_worker import __version__


@contextmanager
def publish_span(type: str, exchange: str, *, provider: TracerProvider | None = None) -> Iterator[dict[str, str]]:  # noqa: A002 - the AMQP name
    """Open a span of kind PRODUCER, and return the headers that the message needs.

    Args:
        type: The task type.
        exchange: Where the task is published.
        provider: Makes the span; by default, the one that the application has set.
    """
    attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": "send",
        "messaging.operation.name": "publish",
        "messaging.destination.name": exchange or "amq.default",
        "taskqueue.task.type": type,
    }
    tracer = trace.get_tracer("taskqueue_worker", __version__, provider)
    with tracer.start_as_current_span(f"publish {type}", kind=SpanKind.PRODUCER, attributes=attributes):
        headers: dict[str, str] = {}
        inject(headers)
        yield headers
