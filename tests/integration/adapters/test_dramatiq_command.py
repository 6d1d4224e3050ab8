"""`python -m taskqueue_drain.dramatiq` is dramatiq's own command in everything but the moment of its end."""

from signal import SIGHUP
from typing import Final

import pytest

from tests.integration.adapters.conftest import StartApplication
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.runtimes import DRAMATIQ, send
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.integration.worker.gate import Gate

OPTIONS: Final = ("--threads", "1", "--processes", "1")
ANOTHER_VERSION: Final = "import dramatiq; dramatiq.__version__ = '3.0.0'"
ANOTHER_LOG_WATCHER: Final = """
from dramatiq import cli
watch_logs = cli.watch_logs
cli.watch_logs = lambda file, pipes, stop: watch_logs(file, pipes, stop)
"""


def _command(*arguments: str) -> Runtime:
    return Runtime("dramatiq", arguments, DRAMATIQ.requirements, declares=True)


def _changed(code: str) -> Runtime:
    start = "import runpy; runpy.run_module('taskqueue_drain.dramatiq', run_name='__main__')"
    return _command("-c", f"{code}\n{start}", *DRAMATIQ.command[2:])


@pytest.mark.parametrize(
    "runtime",
    [
        _command("-m", "dramatiq", "dramatiq_app", "taskqueue_drain.dramatiq", *OPTIONS),
        _command(*DRAMATIQ.command, "--use-spawn"),
        _command("-m", "taskqueue_drain.dramatiq", "dramatiq_app:broker", "taskqueue_drain.dramatiq", *OPTIONS),
    ],
    ids=["dramatiq", "spawn", "broker"],
)
async def test_a_worker_joins_however_dramatiq_starts_it(
    start: StartApplication, runtime: Runtime, operator: FakeOperator
) -> None:
    variables = {"SETS_NO_BROKER": "1"} if "dramatiq_app:broker" in runtime.command else {}
    worker = start(runtime, **variables)
    await operator.wait_for_report(state="consuming")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert operator.last["state"] == "leaving"
    assert worker.output.count("Worker has been shut down") == 1, "the last lines of the log are written"
    assert "[WARNING]" not in worker.output


@pytest.mark.parametrize("runtime", [DRAMATIQ], ids=str)
async def test_a_worker_that_dramatiq_reloads_joins_again(
    start: StartApplication, runtime: Runtime, operator: FakeOperator
) -> None:
    worker = start(runtime)
    former = await operator.wait_for_report(state="consuming")
    worker.signal(SIGHUP)
    await eventually(
        "the next worker consumes",
        lambda: operator.last["state"] == "consuming" and operator.last["incarnation"] != former["incarnation"],
    )
    worker.terminate()
    assert await worker.exit_code() == 0


@pytest.mark.parametrize("runtime", [DRAMATIQ], ids=str)
async def test_a_second_signal_ends_a_busy_worker_with_the_exit_code_of_dramatiq(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator, gate: Gate
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    await send(queue, runtime, n=1, gate=str(gate))
    await worker.wait_for_ledger("started 1")
    worker.terminate()
    await worker.wait_for_log("Shutting down")
    worker.terminate()
    assert await worker.exit_code() == 1
    assert worker.ledger == ["started 1"]
    await queue.wait_for_ready(1)


@pytest.mark.parametrize("module", ["dramatiq", "taskqueue_drain.dramatiq"])
@pytest.mark.parametrize(
    "arguments", [("no_such_module",), ("dramatiq_app", "--threads", "many")], ids=["import", "usage"]
)
async def test_a_command_that_fails_has_the_exit_code_of_dramatiq(
    start: StartApplication, module: str, arguments: tuple[str, ...]
) -> None:
    worker = start(_command("-m", module, *arguments, "--processes", "1"))
    assert await worker.exit_code() == 2


@pytest.mark.parametrize("runtime", [_changed(ANOTHER_LOG_WATCHER)], ids=["log"])
async def test_a_main_process_that_dramatiq_has_changed_says_so_once_and_runs_as_it_is(
    start: StartApplication, runtime: Runtime, operator: FakeOperator
) -> None:
    worker = start(runtime)
    await operator.wait_for_report(state="consuming")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.output.count("writes its log in another way: the worker may end a second later") == 1


@pytest.mark.parametrize("runtime", [_changed(ANOTHER_VERSION)], ids=["3.0"])
async def test_a_version_that_is_not_supported_runs_as_plain_dramatiq(
    start: StartApplication, runtime: Runtime, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start(runtime)
    await send(queue, runtime, n=1)
    await worker.wait_for_ledger("finished 1")
    worker.terminate()
    assert await worker.exit_code() == 0
    assert worker.output.count("dramatiq 3.0.0 is not supported: install dramatiq 2.2 or a later 2.x") == 1
    assert operator.reports == []
