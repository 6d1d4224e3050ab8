"""The kit ends, and leaves neither processes nor queues behind, whatever the command does."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from taskqueue_drain.conformance.command_line import NOT_USABLE
from taskqueue_drain.conformance.rules import Result
from taskqueue_drain.conformance.run import run
from taskqueue_drain.conformance.settings import NotValidError, Settings
from tests.cluster.broker import Broker
from tests.integration.conformance.running_kit import SOURCE
from tests.integration.worker.eventually import eventually

IGNORES_SIGTERM = 'trap "" TERM; sleep 600 & echo $! $$ > "$0"; while :; do sleep 600; done'
MODULE = (sys.executable, "-m", "taskqueue_drain.conformance", "--rule", "errors")


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def all_end(pids: Path) -> None:
    await eventually("the end of the processes", lambda: all(map(has_ended, map(int, pids.read_text().split()))))


def queues(broker: Broker) -> set[str]:
    found = httpx.get(f"{broker.management_url}/api/queues", auth=("guest", "guest")).json()
    return {queue["name"] for queue in found}


@pytest.fixture
def left(broker: Broker) -> Callable[[], set[str]]:
    """Gives the queues that the test has left. Workers of other tests leave some that they declared themselves."""
    before = queues(broker)
    return lambda: queues(broker) - before


async def test_a_command_that_never_reports_is_ended_with_its_children(
    broker: Broker, tmp_path: Path, left: Callable[[], set[str]]
) -> None:
    pids = tmp_path / "pids"
    command = ["sh", "-c", IGNORES_SIGTERM, str(pids)]
    outcome = await run(Settings(command, broker.url, rules=["errors"], start_seconds=1))
    verdicts = {one.rule: one for one in outcome.verdicts}
    assert verdicts["errors"].result is Result.NOT_TESTED
    assert "no report" in verdicts["errors"].reason
    await all_end(pids)
    assert left() == set()


async def test_a_command_that_ends_is_named_with_its_output(broker: Broker) -> None:
    outcome = await run(Settings(["sh", "-c", "echo no such file; exit 3"], broker.url, rules=["errors"]))
    assert "exit code 3" in outcome.verdicts[0].reason
    assert "no such file" in outcome.output


async def test_a_command_that_does_not_exist_is_named(broker: Broker) -> None:
    with pytest.raises(NotValidError, match="/no/such/worker"):
        await run(Settings(["/no/such/worker"], broker.url, rules=["errors"]))


async def test_sigterm_ends_the_kit_and_its_workers(
    broker: Broker, tmp_path: Path, left: Callable[[], set[str]]
) -> None:
    pids = tmp_path / "pids"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "RABBITMQ_URL": broker.url}
    command = ("sh", "-c", IGNORES_SIGTERM, str(pids))
    kit = await asyncio.create_subprocess_exec(*MODULE, "--", *command, env=environment)
    await eventually("the worker", lambda: pids.exists() and pids.read_text().endswith("\n"))
    kit.send_signal(signal.SIGTERM)
    assert await kit.wait() == NOT_USABLE
    await all_end(pids)
    assert left() == set()
