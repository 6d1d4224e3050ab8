"""A handler publishes tasks, from its loop or from its thread."""

import threading
from dataclasses import fields
from typing import Any

import pytest

from taskqueue_worker import Context, PublishFailedError
from taskqueue_worker.run_outcome import Status
from taskqueue_worker.tasks import Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import FakePublisher, delivery, runner_of

TRACE = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01", "tracestate": "vendor=1"}


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
def registry() -> Registry:
    """A task that publishes another one, with what its payload says."""
    registry = Registry()

    @registry.task("t")
    async def handler(options: dict[str, Any], context: Context) -> None:
        assert await context.publish("x", "k", {"n": 1}, type="next", **options) == "id-1"

    @registry.task("thread")
    def in_thread(options: dict[str, Any], context: Context) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert context.publish_sync("x", "k", {"n": 1}, type="next", **options) == "id-1"

    return registry


@pytest.mark.parametrize("type", ["t", "thread"])
async def test_a_published_task_has_the_correlation_id_and_trace_of_its_origin(
    registry: Registry,
    publisher: FakePublisher,
    type: str,  # noqa: A002 - the AMQP name
) -> None:
    origin = delivery(type, correlation_id="request-1", headers={**TRACE, "tenant": "acme", "x-attempt": 2})
    assert (await runner_of(registry, publisher=publisher).run(origin)).status is Status.DONE
    assert publisher.published == [
        ("x", "k", {"n": 1}, {"type": "next", "correlation_id": "request-1", "headers": TRACE})
    ]


async def test_the_identity_of_a_task_without_correlation_id_is_that_of_those_it_publishes(
    registry: Registry, publisher: FakePublisher
) -> None:
    await runner_of(registry, publisher=publisher).run(delivery())
    ((*_, options),) = publisher.published
    assert (options["correlation_id"], options["headers"]) == ("id", {})


async def test_what_the_handler_says_itself_applies(registry: Registry, publisher: FakePublisher) -> None:
    body = b'{"correlation_id": "c", "headers": {"traceparent": "mine"}, "delay": 5}'
    await runner_of(registry, publisher=publisher).run(delivery(body=body, headers=TRACE))
    ((*_, options),) = publisher.published
    assert (options["correlation_id"], options["delay"]) == ("c", 5)
    assert options["headers"] == TRACE | {"traceparent": "mine"}


@pytest.mark.parametrize("trace", [b"\xff", 5, ["x"], "0" * 513, None])
async def test_a_trace_that_is_no_trace_is_not_carried_on(
    registry: Registry, publisher: FakePublisher, trace: object
) -> None:
    await runner_of(registry, publisher=publisher).run(delivery(headers={"traceparent": trace}))
    ((*_, options),) = publisher.published
    assert options["headers"] == {}


@pytest.mark.parametrize("type", ["t", "thread"])
async def test_an_error_of_the_publisher_is_one_of_the_handler(
    registry: Registry,
    publisher: FakePublisher,
    type: str,  # noqa: A002 - the AMQP name
) -> None:
    publisher.fault = PublishFailedError("Not connected")
    outcome = await runner_of(registry, publisher=publisher).run(delivery(type))
    assert outcome.status is Status.FAILED
    assert outcome.failure is not None
    assert "Not connected" in outcome.failure.text


def test_a_context_of_another_process_says_that_it_cannot_publish() -> None:
    context = Context(**dict.fromkeys((field.name for field in fields(Context)), None))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="SyncPublisher"):
        context.publish_sync("x", "k", {}, type="next")


async def test_publish_sync_is_refused_on_the_loop_of_the_handlers(publisher: FakePublisher) -> None:
    registry = Registry()

    @registry.task("t")
    async def handler(_: object, context: Context) -> None:
        context.publish_sync("x", "k", {}, type="next")

    outcome = await runner_of(registry, publisher=publisher).run(delivery())
    assert outcome.failure is not None
    assert_approved("worker.publish_sync_on_loop", outcome.failure.text)
    assert publisher.published == []
