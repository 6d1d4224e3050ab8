"""Spans of tasks and publishes, with the exporter in memory."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from taskqueue_worker import Context, Requeue
from taskqueue_worker.middleware import Call
from taskqueue_worker.tasks import Handler, Registry
from taskqueue_worker.testing import Tasks
from taskqueue_worker.trace_context import trace_headers
from taskqueue_worker.tracing import Tracing, publish_span

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Spans:
    """What is exported of a provider."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def ended(self) -> tuple[Any, ...]:
        return self._exporter.get_finished_spans()


@pytest.fixture
def spans() -> Spans:
    return Spans()


def call(headers: Mapping[str, Any]) -> Call:
    context = Context(
        task_id="id-1",
        type="resize",
        routing_key="images",
        headers=headers,
        redelivered=False,
        deadline=datetime.now(UTC),
        attempt=2,
        state=None,
        draining=asyncio.Event(),
        log=structlog.get_logger(),
    )
    handler = Handler("resize", 1, print, "here", wants_context=True, is_coroutine=True)
    return Call(context, {}, handler)


async def test_a_task_is_a_span_of_the_trace_of_its_publisher_and_so_is_what_it_publishes(spans: Spans) -> None:
    with publish_span("resize", "images", provider=spans.provider) as published:
        pass
    inner: dict[str, Any] = {}

    async def handler() -> str:
        inner.update(structlog.contextvars.get_contextvars(), headers=trace_headers({}))
        with publish_span("notify", "", provider=spans.provider):
            return "done"

    assert await Tracing(spans.provider)(call(published), handler) == "done"
    first, notify, task = spans.ended
    assert (first.kind, notify.kind, task.kind) == (SpanKind.PRODUCER, SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert (first.name, notify.name, task.name) == ("publish resize", "publish notify", "process resize")
    assert task.parent.span_id == first.context.span_id
    assert notify.parent.span_id == task.context.span_id
    assert task.attributes["messaging.message.id"] == "id-1"
    assert task.attributes["taskqueue.task.attempt"] == 2
    assert inner["trace_id"] == format_trace_id(first.context.trace_id)
    assert inner["headers"]["traceparent"].split("-")[1] == inner["trace_id"]
    assert trace_headers({}) == {}, "outside of the task there is no trace"


@pytest.mark.parametrize(("error", "status"), [(LookupError("x"), StatusCode.ERROR), (Requeue(), StatusCode.UNSET)])
async def test_an_error_is_in_the_span_and_a_requeue_is_no_error(
    spans: Spans, error: Exception, status: StatusCode
) -> None:
    async def handler() -> None:
        raise error

    with pytest.raises(type(error)):
        await Tracing(spans.provider)(call({}), handler)
    (span,) = spans.ended
    assert span.status.status_code is status
    assert len(span.events) == (status is StatusCode.ERROR)


@pytest.mark.parametrize("parent", [None, 7, b"\xff", "00-0-0-0", "x" * 5000, ["00"]])
async def test_a_header_of_any_kind_begins_a_new_trace(spans: Spans, parent: object) -> None:
    async def handler() -> None: ...

    await Tracing(spans.provider)(call({"traceparent": parent, "tracestate": parent}), handler)
    (span,) = spans.ended
    assert span.parent is None


def test_what_a_traced_task_publishes_belongs_to_its_span(spans: Spans) -> None:
    registry = Registry()

    @registry.task("order", around=[Tracing(spans.provider)])
    async def order(_: object, context: Context) -> None:
        await context.publish("", "tests", {}, type="ship")

    run = Tasks(registry).run("order", {}, headers={"traceparent": PARENT})
    (span,), (published,) = spans.ended, run.published
    expected = f"00-{TRACE}-{format_span_id(span.context.span_id)}-01"
    assert published.options["headers"] == {"traceparent": expected}


def test_without_tracing_the_headers_of_the_message_are_carried_on() -> None:
    assert trace_headers({"traceparent": PARENT, "tracestate": 5, "other": "x"}) == {"traceparent": PARENT}
