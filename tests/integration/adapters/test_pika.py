"""What is special about consumers by hand: failed tasks, queues that are missing, and life outside of a TaskQueue."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.cluster.broker import Broker
from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import PIKA, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.raw_publisher import publish_raw
from tests.integration.worker.test_hostile_messages import UNREADABLE

SAMPLE = Path(__file__).parents[3] / "deploy/samples/pika/consume.py"
pytestmark = pytest.mark.parametrize("runtime", [PIKA], ids=str)


@pytest.fixture
def delayed(queue: DeclaredQueue, management: httpx.Client) -> Iterator[DeclaredQueue]:
    """A queue that delays what is rejected, as the policy of the operator does it."""
    delays = {"delayed-retry-type": "failed", "delayed-retry-min": 500, "delayed-retry-max": 500}
    policy = {"pattern": f"^{queue.name}$", "definition": delays, "priority": 999, "apply-to": "queues"}
    path = f"/api/policies/%2F/{queue.name}"
    management.put(path, json=policy).raise_for_status()
    yield queue
    management.delete(path)


async def test_a_task_that_fails_is_dead_lettered_and_the_next_one_runs(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start(runtime)
    await send(queue, runtime, n=1, fails=True)
    await send(queue, runtime, n=2)
    await worker.wait_for_ledger("finished 2")
    await queue.wait_for_ready(1, queue.dead_letters)
    assert "ValueError: 1" in worker.output
    await operator.command("report")
    assert (operator.last["completed"], operator.last["failed"]) == (1, 1)
    assert worker.ledger == ["started 1", "started 2", "finished 2"]


async def test_with_linear_retries_the_broker_delays_a_failed_task_until_its_attempts_are_used(
    start: StartApplication, runtime: Runtime, delayed: DeclaredQueue
) -> None:
    worker = start(runtime, TASKQUEUE_RETRY_TYPE="Linear", TASKQUEUE_MAX_ATTEMPTS="2")
    await send(delayed, runtime, n=1, fails=True)
    await delayed.wait_for_ready(1, delayed.dead_letters)
    assert worker.ledger == ["started 1", "started 1"]


async def test_messages_whose_properties_cannot_be_read_reach_the_handler_and_no_connection_is_lost(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, broker: Broker
) -> None:
    for n, (flags, properties) in enumerate(UNREADABLE.values()):
        await publish_raw(broker.url, queue.name, flags=flags, properties=properties, body=b'{"n": %d}' % n)
    worker = start(runtime)
    await worker.wait_for_ledger(*(f"finished {n}" for n in range(len(UNREADABLE))))
    await queue.wait_for_ready(0)
    assert worker.ledger.count("started 0") == 1
    assert "not connected" not in worker.output


async def test_after_a_consumer_timeout_the_old_consumer_receives_no_message(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, gate: Gate
) -> None:
    worker = start(replace(runtime, command=("short_timeout_pika.py",)), TASKQUEUE_PREFETCH="1")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_log("the broker cancelled the consumer")
    gate.open()
    for n in (2, 3, 4):
        await send(queue, runtime, n=n)
    await worker.wait_for_ledger("finished 2", "finished 3", "finished 4")
    await eventually("the second run", lambda: worker.ledger.count("finished 1") == 2)
    assert "Unexpected delivery" not in worker.output


async def test_a_missing_queue_is_retried_and_the_others_are_consumed(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    missing = DeclaredQueue(queue.channel, f"{queue.name}-later")
    worker = start(runtime, TASKQUEUE_QUEUES=f"{missing.name},{queue.name}")
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    await worker.wait_for_log(f"not consuming {missing.name}: (404")
    assert operator.last["state"] == "starting"
    await missing.declare()
    await send(missing, runtime, n=2)
    await worker.wait_for_ledger("finished 2")
    await operator.wait_for_report(state="consuming")


async def test_outside_of_a_taskqueue_it_is_a_plain_consumer(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start(runtime, omit="TASKQUEUE_NAME")
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert (worker.output, operator.reports) == ("", [])


async def test_a_missing_setting_is_named(start: StartApplication, runtime: Runtime) -> None:
    worker = start(runtime, TASKQUEUE_QUEUES="")
    await eventually("the end", lambda: worker.has_ended)
    assert "TASKQUEUE_QUEUES is not set" in worker.output


async def test_the_sample_runs(start: StartApplication, runtime: Runtime, queue: DeclaredQueue) -> None:
    worker = start(replace(runtime, command=(str(SAMPLE),)))
    await queue.publish(body=b"0")
    await worker.wait_for_log("rendering b'0'")
    await queue.wait_for_ready(0)
    worker.terminate()
    assert await worker.exit_code() == 0
    assert await queue.ready() == 0
