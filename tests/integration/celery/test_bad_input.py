"""A worker that cannot be drained says why in one line, and works as Celery does without the adapter."""

import httpx

from tests.integration.celery.conftest import ADAPTER, StartCelery, send
from tests.integration.worker import management_api as api
from tests.integration.worker.conftest import DeclareQueue
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually

UNABLE = "this worker cannot be drained: "
CASES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    UNABLE + "TASKQUEUE_CONTRACT is '2'": ((), {"TASKQUEUE_CONTRACT": "2"}),
    UNABLE + "TASKQUEUE_NAME is not set": ((), {"TASKQUEUE_NAME": ""}),
    UNABLE + "Celery 6.0.1 is not supported": (("-I", "celery_6,taskqueue_drain.celery"), {}),
    UNABLE + "celery.concurrency.eventlet cannot be drained": ((*ADAPTER, "--pool=eventlet"), {}),
    "/healthz and /readyz are not served: TASKQUEUE_HTTP_PORT is 'x'": ((), {"TASKQUEUE_HTTP_PORT": "x"}),
}


async def test_a_worker_with_bad_input_says_so_once_and_goes_on(
    start_celery: StartCelery, declare_queue: DeclareQueue
) -> None:
    queues = [await declare_queue() for _ in CASES]
    workers = [
        start_celery(*options, **variables, QUEUE=queue.name)
        for queue, (options, variables) in zip(queues, CASES.values(), strict=True)
    ]
    for n, queue in enumerate(queues):
        await send(queue, n=n)
    await workers[0].wait_for_ledger(*(f"finished {n}" for n in range(len(workers))))
    for reason, worker in zip(CASES, workers, strict=True):
        assert worker.output.count(reason) == 1
        if "TASKQUEUE_HTTP_PORT" not in reason:
            assert (worker.probe("/healthz"), worker.probe("/readyz")) == (200, 200), "the pod is not restarted"
            assert worker.probe("/metrics") == 404
        worker.terminate()
    assert [await worker.exit_code() for worker in workers] == [0] * len(workers)


async def test_a_worker_without_rabbitmq_says_so_once_and_goes_on(start_celery: StartCelery) -> None:
    worker = start_celery(*ADAPTER, "--pool=solo", RABBITMQ_URL="memory://")
    await worker.wait_for_log("ready.")
    assert worker.output.count(UNABLE + "the broker is reached by 'memory' and not by AMQP") == 1
    assert worker.probe("/healthz") == 200


async def test_the_adapter_may_be_loaded_by_a_variable_and_twice(
    start_celery: StartCelery, queue: DeclaredQueue
) -> None:
    modules = "taskqueue_drain.celery,taskqueue_drain.celery"
    worker = start_celery("--pool=solo", CELERY_WORKER_INCLUDE=modules)
    await eventually("ready", lambda: worker.is_ready)
    await send(queue, n=1)
    await worker.wait_for_ledger("finished 1")
    assert worker.output.count("are served on port") == 1


async def test_a_worker_without_permission_to_report_says_so_once_and_goes_on(
    start_celery: StartCelery, queue: DeclaredQueue, management: httpx.Client, taskqueue: str, user_url: str
) -> None:
    permissions = {"configure": "celery|.*pidbox.*", "write": "^(?!taskqueue).*", "read": ".*"}
    api.put_permissions(management, taskqueue, "/", permissions)
    worker = start_celery(RABBITMQ_URL=user_url)
    await worker.wait_for_log("no control channel, the worker cannot be drained")
    await send(queue, n=1)
    await worker.wait_for_ledger("finished 1")
    assert worker.output.count("no control channel") == 1
    assert "taskqueue.reports" in worker.output
