"""A worker ends at SIGTERM, or with its last task: not when one of its loops next looks for that."""

import pytest

from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import DRAMATIQ, PIKA, TASKIQ, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate

LOOPS_THAT_LOOK_ONCE_AN_HOUR = """
import runpy
from multiprocessing import connection
from taskqueue_drain import control_thread
from taskqueue_drain.pause import Pause
control_thread.POLL_SECONDS = control_thread.LAST_REPORT_TIMEOUT_SECONDS = 3600
sleep = Pause.__call__
Pause.__call__ = lambda pause, seconds: sleep(pause, 3600)
wait = connection.wait
connection.wait = lambda pipes, timeout: wait(pipes, timeout and 3600)
"""
DRAMATIQ_TIMEOUT = {"dramatiq_worker_timeout": "3600000"}


def _patient(runtime: Runtime, start: str, *arguments: str) -> Runtime:
    return Runtime(
        runtime.name,
        ("-c", f"{LOOPS_THAT_LOOK_ONCE_AN_HOUR}\nrunpy.{start}", *arguments),
        runtime.requirements,
        declares=runtime.declares,
    )


pytestmark = pytest.mark.parametrize(
    "runtime",
    [
        _patient(PIKA, "run_path('by_hand_pika.py', run_name='__main__')"),
        _patient(DRAMATIQ, "run_module('taskqueue_drain.dramatiq', run_name='__main__')", *DRAMATIQ.command[2:]),
        _patient(TASKIQ, "run_module('taskqueue_drain.taskiq', run_name='__main__')", *TASKIQ.command[2:8]),
    ],
    ids=lambda runtime: runtime.name,
)


async def test_an_idle_worker_ends_at_sigterm(
    start: StartApplication, runtime: Runtime, operator: FakeOperator
) -> None:
    worker = start(runtime, **DRAMATIQ_TIMEOUT)
    await operator.wait_for_report(state="consuming")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert operator.last["state"] == "leaving"


async def test_a_busy_worker_ends_with_its_task(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(runtime, **DRAMATIQ_TIMEOUT)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    await send(queue, runtime, n=2)
    await queue.wait_for_ready(0)
    worker.terminate()
    await queue.wait_for_ready(1)
    gate.open()
    assert await worker.exit_code() == 0
    assert worker.ledger == ["started 1", "finished 1"]
    await queue.wait_for_ready(1)
