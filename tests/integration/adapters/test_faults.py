"""What the workers of each runtime do when commands, connections, processes or the broker fail."""

from typing import Final

import httpx
import pytest

from tests.cluster.broker import Broker
from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import AIO_PIKA, FASTSTREAM, NEWEST, PIKA, TASKIQ, send
from tests.integration.worker import management_api as api
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import EPOCH, FakeOperator
from tests.integration.worker.gate import Gate
from tests.integration.worker.memory_alarm import MemoryAlarm

pytestmark = pytest.mark.fault

EVERY_RUNTIME = pytest.mark.parametrize("runtime", NEWEST, ids=str)
CONTRACT: Final = ({"TASKQUEUE_CONTRACT": "2"}, "this worker cannot be drained: TASKQUEUE_CONTRACT is '2'")
PORT: Final = ({"TASKQUEUE_HTTP_PORT": "x"}, "/healthz and /readyz are not served: TASKQUEUE_HTTP_PORT is 'x'")
NAME: Final = ({"TASKQUEUE_NAME": ""}, "this worker cannot be drained: TASKQUEUE_NAME is not set")


@EVERY_RUNTIME
async def test_commands_come_twice_and_from_two_leaders_and_a_lease_ends_by_itself(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    for command, state in (("drain", "drained"), ("undrain", "consuming")):
        for _ in range(2):
            await operator.done(command, id=f"{command} twice")
        await operator.wait_for_report(state=state)
    await operator.done("drain", epoch=EPOCH + 1)
    assert await operator.refused("undrain", epoch=EPOCH, seq=9) == "superseded"
    await operator.done("drain", epoch=EPOCH + 1, lease_seconds=1)
    await send(queue, runtime, n=1)
    await operator.wait_for_report(state="consuming", drain=None)
    await worker.wait_for_ledger("finished 1")


async def lose_connections(management: httpx.Client, user: str, operator: FakeOperator) -> None:
    """Close all connections of a worker, and wait for a report over a new one."""
    address = operator.address
    api.close_connections_of_user(management, user)
    await eventually("another address", lambda: operator.address != address)


@EVERY_RUNTIME
async def test_a_worker_stays_drained_when_its_connections_are_lost(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    runtime: Runtime,
    queue: DeclaredQueue,
    operator: FakeOperator,
    management: httpx.Client,
    taskqueue: str,
    user_url: str,
    gate: Gate,
) -> None:
    api.put_permissions(management, taskqueue, "/", {"configure": ".*", "write": ".*", "read": ".*"})
    worker = start(runtime, RABBITMQ_URL=user_url)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await operator.done("drain")
    await lose_connections(management, taskqueue, operator)
    assert (operator.last["state"], operator.last["in_flight"]) == ("draining", 1), "the running task continues"
    await queue.wait_for_ready(1)
    gate.open()
    await operator.wait_for_report(state="drained")
    assert await queue.ready() == 1, "the broker has it back"
    await operator.done("undrain")
    await eventually("the second run", lambda: worker.ledger.count("finished 1") == 2)


@pytest.mark.parametrize("runtime", [TASKIQ, FASTSTREAM], ids=str)  # aio-pika connects again by itself, after seconds
async def test_a_worker_that_is_drained_while_it_connects_again_begins_no_task_before_the_undrain(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    runtime: Runtime,
    queue: DeclaredQueue,
    operator: FakeOperator,
    management: httpx.Client,
    taskqueue: str,
    user_url: str,
) -> None:
    api.put_permissions(management, taskqueue, "/", {"configure": ".*", "write": ".*", "read": ".*"})
    worker = start(runtime, RABBITMQ_URL=user_url)
    await operator.wait_for_report(state="consuming")
    for _ in range(2):
        await lose_connections(management, taskqueue, operator)
        await operator.done("drain")
        await operator.wait_for_report(state="drained")
    await send(queue, runtime, n=1)
    await queue.wait_for_ready(1)
    assert worker.ledger == []
    await operator.done("undrain")
    await worker.wait_for_ledger("finished 1")
    await operator.wait_for_report(state="consuming")


async def test_a_message_that_waits_when_its_connection_is_lost_runs_once_after_a_drain_and_an_undrain(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    queue: DeclaredQueue,
    operator: FakeOperator,
    management: httpx.Client,
    taskqueue: str,
    user_url: str,
    gate: Gate,
) -> None:
    api.put_permissions(management, taskqueue, "/", {"configure": ".*", "write": ".*", "read": ".*"})
    worker = start(TASKIQ, RABBITMQ_URL=user_url)  # it prefetches, and keeps its consumer when it connects again
    await operator.wait_for_report(state="consuming")
    await send(queue, TASKIQ, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await send(queue, TASKIQ, n=2)
    await queue.wait_for_ready(0)
    await lose_connections(management, taskqueue, operator)
    await operator.done("drain")
    await queue.wait_for_ready(2)
    gate.open()
    await operator.wait_for_report(state="drained", prefetched=0)
    await operator.done("undrain")
    await eventually("the second run", lambda: worker.ledger.count("finished 1") == 2)
    await worker.wait_for_ledger("finished 2")
    assert worker.ledger.count("started 2") == 1


@EVERY_RUNTIME
async def test_a_worker_that_is_killed_while_it_drains_leaves_its_task_to_another(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    incarnation = (await operator.done("drain"))["incarnation"]
    worker.kill()
    await queue.wait_for_ready(1)
    gate.open()
    other = start(runtime)
    await other.wait_for_ledger("finished 1")
    await eventually("another incarnation", lambda: operator.last["incarnation"] != incarnation)
    assert other.ledger == ["started 1", "started 1", "finished 1"]


@pytest.mark.parametrize("runtime", [PIKA, TASKIQ], ids=str)  # a control channel with threads, and on asyncio
async def test_a_memory_alarm_delays_neither_the_end_of_a_drain_nor_tasks_nor_shutdown(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    runtime: Runtime,
    queue: DeclaredQueue,
    operator: FakeOperator,
    broker: Broker,
    management: httpx.Client,
    taskqueue: str,
) -> None:
    alarm = MemoryAlarm(broker, management)
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    await operator.done("drain", lease_seconds=5)
    await send(queue, runtime, n=2)
    await queue.wait_for_ready(1)
    with alarm:
        await alarm.wait_until_blocked(f"{taskqueue} control")
        await worker.wait_for_ledger("finished 2")
        assert worker.probe("/healthz") == 200
        worker.terminate()
        assert await worker.exit_code() == 0
    await queue.wait_for_ready(0)


@EVERY_RUNTIME
async def test_a_worker_that_gets_sigterm_while_it_starts_loses_no_task(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    for n in range(3):
        await send(queue, runtime, n=n)
    worker = start(runtime)
    await eventually("a port", lambda: worker.is_listening or worker.has_ended)
    worker.terminate()
    assert await worker.exit_code() == 0
    finished = [entry for entry in worker.ledger if entry.startswith("finished")]
    await queue.wait_for_ready(3 - len(finished))
    # One that is still connecting ends at once.
    assert operator.reports == [] or operator.last["state"] == "leaving"


@pytest.mark.parametrize(
    ("runtime", "variables", "reason"),
    [
        *(pytest.param(runtime, *CONTRACT, id=f"{runtime}-contract") for runtime in NEWEST),
        # With threads and on asyncio: runtimes of a kind read these in the same code.
        *(pytest.param(runtime, *PORT, id=f"{runtime}-port") for runtime in (PIKA, AIO_PIKA)),
        *(pytest.param(runtime, *NAME, id=f"{runtime}-name") for runtime in (PIKA, AIO_PIKA)),
    ],
)
async def test_a_worker_with_bad_input_says_so_once_and_goes_on(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, variables: dict[str, str], reason: str
) -> None:
    worker = start(runtime, **variables)
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    await worker.wait_for_log(reason)
    assert worker.output.count(reason) == 1
    if "TASKQUEUE_CONTRACT" in variables:
        await eventually("ready", lambda: worker.probe("/readyz") == 200)
        assert worker.probe("/healthz") == 200, "the pod is not restarted"
    worker.terminate()
    assert await worker.exit_code() == 0


@EVERY_RUNTIME
async def test_a_worker_without_permission_to_report_says_so_once_and_goes_on(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    runtime: Runtime,
    queue: DeclaredQueue,
    management: httpx.Client,
    taskqueue: str,
    user_url: str,
) -> None:
    permissions = {"configure": "^(?!taskqueue).*", "write": "^(?!taskqueue).*", "read": ".*"}
    api.put_permissions(management, taskqueue, "/", permissions)
    worker = start(runtime, RABBITMQ_URL=user_url)
    await worker.wait_for_log("no control channel, the worker cannot be drained")
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    assert worker.output.count("no control channel") == 1
    assert "taskqueue.reports" in worker.output
