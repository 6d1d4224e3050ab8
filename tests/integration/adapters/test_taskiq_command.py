"""The command line of taskiq with the adapter: the main process gets SIGTERM, and another one has the tasks."""

from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import TASKIQ, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate

MAIN_PROCESS_SLEEPS = """
import runpy
from taskqueue_drain.pause import Pause
sleep = Pause.__call__
Pause.__call__ = lambda pause, seconds: sleep(pause, 3600)
runpy.run_module("taskqueue_drain.taskiq", run_name="__main__")
"""
"""taskiq alone tells its worker after the next of these sleeps, which take a second each."""
COMMAND = ("-c", MAIN_PROCESS_SLEEPS, "worker", "taskiq_app:broker", "--workers", "1", "--max-async-tasks", "1")
RUNTIME = Runtime("taskiq", (*COMMAND, "--max-prefetch", "9"), TASKIQ.requirements)


async def test_the_main_process_tells_its_worker_of_sigterm_at_once(
    start: StartApplication, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(RUNTIME)
    await operator.wait_for_report(state="consuming")
    await send(queue, RUNTIME, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    for n in (2, 3):
        await send(queue, RUNTIME, n=n)
    await queue.wait_for_ready(0)
    worker.terminate()
    await queue.wait_for_ready(2)
    gate.open()
    await worker.wait_for_ledger("finished 1")
    assert await worker.exit_code() == 0
