"""Workers that cannot be drained say why, in one line, and go on as they would without the adapter."""

import pytest

from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import FASTSTREAM, TASKIQ, TASKIQ_COMMAND, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.fake_operator import FakeOperator

TWO_PROCESSES = tuple("2" if argument == "1" else argument for argument in TASKIQ.command)


@pytest.mark.parametrize(
    ("runtime", "variables", "reason", "times"),
    [
        (Runtime("taskiq", TWO_PROCESSES, TASKIQ.requirements), {}, "2 worker processes run in this pod", 2),
        (FASTSTREAM, {"PREFETCH": "0"}, "is unlimited, so every message begins at once", 1),
        (FASTSTREAM, {"FASTSTREAM_WORKERS": "2"}, "--workers or --reload starts further processes", 1),
    ],
    ids=["taskiq-workers", "faststream-prefetch", "faststream-workers"],
)
async def test_a_worker_that_cannot_be_drained_says_so_and_goes_on(  # noqa: PLR0913, PLR0917 - fixtures
    start: StartApplication,
    queue: DeclaredQueue,
    operator: FakeOperator,
    runtime: Runtime,
    variables: dict[str, str],
    reason: str,
    times: int,
) -> None:
    worker = start(runtime, **variables)
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    await worker.wait_for_log(reason)
    worker.terminate()
    await worker.exit_code()
    assert worker.output.count(reason) == times, "once for each process"
    assert operator.reports == [], "it is never treated as idle"


async def test_taskiq_without_the_adapter_acknowledges_what_fails(
    start: StartApplication, queue: DeclaredQueue
) -> None:
    plain = Runtime("taskiq", TASKIQ_COMMAND, TASKIQ.requirements)
    worker = start(plain)
    await send(queue, plain, n=1, fails=True)
    await send(queue, plain, n=2)
    await worker.wait_for_ledger("finished 2")
    await queue.wait_for_ready(0)
    assert await queue.ready(queue.dead_letters) == 0, "the adapter dead-letters it"
