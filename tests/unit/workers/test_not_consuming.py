"""Workers that start and do not consume."""

from typing import Any

import pytest

from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.workers.api_objects import Pod
from taskqueue_operator.workers.not_consuming import has_no_consumer, not_consuming
from tests.approved import assert_approved

from .conftest import Make
from .pod_statuses import READY, container, waiting
from .test_startup_problems import deployment, pod

RUNNING = container({"running": {}}, ready=False)


@pytest.mark.parametrize(
    ("pods", "unconsumed", "expected"),
    [
        ([pod(RUNNING)], (), True),
        ([pod(RUNNING)], ("jobs",), True),
        ([pod(READY)], (), False),
        ([pod(READY)], ("jobs",), True),
        ([pod(READY, deletionTimestamp="2026-01-01T00:00:00Z")], (), True),
        ([], (), True),
    ],
)
def test_a_worker_consumes_if_its_pod_is_ready_and_the_broker_shows_a_consumer(
    pods: list[Pod], unconsumed: tuple[str, ...], *, expected: bool
) -> None:
    assert has_no_consumer(deployment(), pods, unconsumed) is expected


def test_without_replicas_nobody_has_to_consume() -> None:
    assert not has_no_consumer(deployment(replicas=0), [], ("jobs",))


def test_the_message_has_what_pods_and_broker_show_and_the_way_out(make: Make) -> None:
    def message(status: dict[str, Any], *unconsumed: str) -> str:
        fault = not_consuming(make(secretRef={"name": "own"}), [pod(status)], unconsumed)
        assert fault.reason is Reason.WORKERS_NOT_CONSUMING
        return fault.message

    assert_approved("not_consuming.running", message(RUNNING, "jobs"))
    assert_approved("not_consuming.waiting", message(waiting("ContainerCreating")))
    assert_approved("not_consuming.ready", message(READY, "jobs", "mails"))
    assert "no pods" in not_consuming(make(), [], ()).message
