"""The middleware that surrounds each attempt of a task by a span."""

from opentelemetry import trace
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.util.types import AttributeValue
from structlog.contextvars import bound_contextvars

from taskqueue_worker import __version__
from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Requeue
from taskqueue_worker.trace_context import CURRENT_TRACE, trace_headers


class Tracing:
    """Opens a span of kind CONSUMER, whose parent is the span that the header `traceparent` names.

    A handler that raises sets the status of the span to ERROR; `Requeue` does not.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        """Make spans by this provider; by default, the one that the application has set."""
        self._tracer = trace.get_tracer("taskqueue_worker", __version__, provider)

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """See `Middleware`."""
        context = call.context
        attributes: dict[str, AttributeValue] = {
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": context.routing_key,
            "messaging.message.id": context.task_id or "",
            "taskqueue.task.type": call.task.type,
            "taskqueue.task.attempt": context.attempt,
        }
        with self._tracer.start_as_current_span(
            f"process {call.task.type}",
            extract(trace_headers(context.headers)),
            SpanKind.CONSUMER,
            attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            return await _traced(span, proceed)


async def _traced(span: Span, proceed: Proceed) -> object:
    headers: dict[str, str] = {}
    inject(headers)
    token = CURRENT_TRACE.set(headers)
    ids = span.get_span_context()
    try:
        with bound_contextvars(trace_id=trace.format_trace_id(ids.trace_id), span_id=trace.format_span_id(ids.span_id)):
            return await proceed()
    except Requeue:
        raise
    except BaseException as error:
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, type(error).__qualname__))
        raise
    finally:
        CURRENT_TRACE.reset(token)
