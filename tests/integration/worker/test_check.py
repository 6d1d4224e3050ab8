"""`check` finds what a worker may not do at its broker, and changes nothing there."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx

from tests.integration.harness.versions import every_version
from tests.integration.worker import management_api as api
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.fake_operator import EXCHANGE
from tests.integration.worker.retry_path import declare_retry_path
from tests.integration.worker.running_worker import environment
from tests.permissions import documented, permissions


class Check:
    """Runs the command with the settings of a worker that retries."""

    def __init__(self, directory: Path, url: str, queue: str) -> None:
        self._environment = environment(
            directory, RABBITMQ_URL=url, TASKQUEUE_QUEUES=queue, TASKQUEUE_RETRY_INITIAL_SECONDS="1"
        )

    async def __call__(self) -> tuple[int, list[str]]:
        """Return the exit code, and the lines that are not about tasks."""
        run = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "taskqueue_worker", "check"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stderr == ""
        return run.returncode, [line for line in run.stdout.splitlines() if not line.startswith(("task", "conc"))]


@every_version
async def test_the_documented_rights_suffice_and_nothing_changes(
    management: httpx.Client, queue: DeclaredQueue, user_url: str, taskqueue: str, tmp_path: Path
) -> None:
    await declare_retry_path(queue)
    await queue.channel.declare_exchange(EXCHANGE, "direct", durable=True)
    api.put_permissions(management, taskqueue, "/", permissions(documented("worker", queue.name, queue.name)))
    await queue.publish(n=1)
    code, lines = await Check(tmp_path, user_url, queue.name)()
    assert code == 0, lines
    assert {line.split()[0] for line in lines} == {"ok"}
    assert [line.split(":")[0].split(maxsplit=1)[1] for line in lines[1:]] == [
        f"queue {queue.name}",
        "exchange amq.default",
        f"exchange {EXCHANGE}",
        "exchange taskqueue.return",
        "queues taskqueue.delay.*",
        f"queue taskqueue.delayed.{queue.name}",
    ]
    assert await queue.ready() == 1
    message = await (await queue.channel.get_queue(queue.name)).get()
    assert message is not None
    assert not message.redelivered
    names = {one["name"] for one in (await asyncio.to_thread(management.get, "/api/queues")).json()}
    assert not names & {"taskqueue.delay.0s", f"taskqueue.delayed.{queue.name}", "taskqueue.check"}


@every_version
async def test_each_right_that_is_missing_is_named_with_its_object(
    management: httpx.Client, queue: DeclaredQueue, user_url: str, taskqueue: str, tmp_path: Path
) -> None:
    await declare_retry_path(queue)
    await queue.channel.declare_exchange(EXCHANGE, "direct", durable=True)
    api.put_permissions(management, taskqueue, "/", dict.fromkeys(("configure", "write", "read"), "^$"))
    code, (connection, *lines) = await Check(tmp_path, user_url, queue.name)()
    assert code == 1
    assert connection.startswith("ok")
    warning = [line for line in lines if line.startswith("warning")]
    assert len(lines) == 6
    assert len(warning) == 1, "without reports, a worker runs all the same"
    assert f"exchange {EXCHANGE}: The user of the worker may not write it" in warning[0]
    assert f"queue {queue.name}: The user of the worker may not read it" in lines[0]
    assert f"queue taskqueue.delayed.{queue.name}: The user of the worker may not configure it" in lines[-1]


async def test_a_missing_queue_and_a_broker_that_is_away_are_errors_with_the_way_out(
    queue: DeclaredQueue, user_url: str, management: httpx.Client, taskqueue: str, tmp_path: Path
) -> None:
    api.put_permissions(management, taskqueue, "/", dict.fromkeys(("configure", "write", "read"), ".*"))
    code, lines = await Check(tmp_path, user_url, f"{queue.name}-missing")()
    assert code == 1
    assert f"queue {queue.name}-missing: It does not exist. Create its TaskQueue" in lines[1]
    code, lines = await Check(tmp_path, "amqp://user:verysecret@127.0.0.1:1/", queue.name)()
    assert code == 1
    (line,) = lines
    assert line.startswith("error")
    assert "--offline" in line
    assert "verysecret" not in line
