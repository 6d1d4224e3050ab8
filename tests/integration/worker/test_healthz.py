"""/healthz proves that the broker delivers to the worker, and does not fail where a restart changes nothing."""

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.gate import Gate
from tests.integration.worker.running_worker import RunningWorker

MODULES = "ledger_tasks,forgotten_consumer"


def is_healthy(worker: RunningWorker) -> bool:
    return worker.get("/healthz")[0] == 200


async def test_a_worker_whose_consumer_the_broker_has_forgotten_is_unhealthy(
    start_worker: StartWorker, queue: DeclaredQueue, gate: Gate
) -> None:
    forgotten = start_worker(queues=queue.name, modules=MODULES)
    await eventually("ready", lambda: forgotten.is_ready)
    await queue.publish("forget")
    await forgotten.wait_for_log(event="task", type="forget")
    busy = start_worker(queues=queue.name, modules=MODULES)
    await eventually("ready", lambda: busy.is_ready)
    assert is_healthy(forgotten), "nothing waits for it"
    await queue.publish(n=1, gate=str(gate))
    await busy.wait_for_ledger("started 1")
    await queue.publish(n=2)
    await eventually("unhealthy", lambda: not is_healthy(forgotten))
    assert forgotten.is_ready, "it believes that it consumes"
    assert forgotten.lines(event="consumer receives nothing", queue=queue.name, ready=1)
    assert is_healthy(busy)


async def test_a_worker_stays_healthy_while_its_queue_is_missing_and_while_it_waits_for_a_broker(
    start_worker: StartWorker, queue: DeclaredQueue
) -> None:
    missing = start_worker(queues=f"{queue.name}-missing", modules=f"{MODULES},short_periods")
    away = start_worker(queues=queue.name, modules=f"{MODULES},short_periods", RABBITMQ_URL="amqp://127.0.0.1:1/")
    await missing.wait_for_log(event="not consuming", times=4)
    await away.wait_for_log(event="not connected", times=4)
    assert is_healthy(missing)
    assert is_healthy(away)
