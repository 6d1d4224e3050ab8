"""Workers as real processes, and queues to feed them from."""

import asyncio
import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pamqp.common import FieldTable
from typing_extensions import override

HERE = Path(__file__).parent
SOURCE = Path(__file__).parents[3] / "worker-image/src"
COMMAND = shlex.split(os.environ.get("WORKER_COMMAND", "")) or [sys.executable, "-m", "taskqueue_worker"]
PATIENCE_SECONDS = 40


async def eventually(what: str, holds: Callable[[], object]) -> None:
    """Wait until it holds; it may be asynchronous."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = holds()
                if inspect.isawaitable(answer):
                    answer = await answer
                if answer:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError as late:
        late.add_note(f"waited for: {what}")
        raise


class Gate:
    """A file that opens by being there, for tasks in other processes to wait at."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @override
    def __str__(self) -> str:
        return str(self._path)

    def open(self) -> None:
        self._path.touch()


def environment(directory: Path, **variables: str) -> dict[str, str]:
    """Of a worker, with nothing inherited that it reads."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{SOURCE}{os.pathsep}{HERE}",
        "PYTHONUNBUFFERED": "1",
        "LEDGER": str(directory / "ledger"),
        "TASKQUEUE_MODULES": "ledger_tasks",
        "TASKQUEUE_HTTP_PORT": "0",
        "TASKQUEUE_NAME": "tests/worker",
    } | variables


class RunningWorker:
    """A worker's process and what it wrote."""

    def __init__(self, directory: Path, name: str, **variables: str) -> None:
        self._output = directory / f"{name}.log"
        self._ledger = directory / "ledger"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                COMMAND,
                env=environment(directory, **variables),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def ledger(self) -> list[str]:
        return self._ledger.read_text().splitlines() if self._ledger.exists() else []

    def lines(self, **fields: object) -> list[dict[str, Any]]:
        """Log lines that have these fields."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if fields.items() <= line.items()]

    async def logged(self, *, times: int = 1, **fields: object) -> list[dict[str, Any]]:
        await eventually(f"{times} x {fields}", lambda: len(self.lines(**fields)) >= times)
        return self.lines(**fields)

    async def wrote(self, entry: str) -> None:
        await eventually(f"ledger: {entry}", lambda: entry in self.ledger)

    def get(self, path: str) -> tuple[int, str]:
        (listening, *_) = self.lines(event="listening")
        answer = httpx.get(f"http://127.0.0.1:{listening['port']}{path}", timeout=10)
        return answer.status_code, answer.text

    def metric(self, name: str) -> float:
        """The value of the series written exactly so."""
        return float(
            next(line for line in self.get("/metrics")[1].splitlines() if line.startswith(name + " ")).split()[-1]
        )

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self._process.wait, PATIENCE_SECONDS)


class Work:
    """A queue with a dead-letter queue behind it."""

    def __init__(self, channel: AbstractChannel, name: str, kind: str) -> None:
        self.channel = channel
        self.name = name
        self.dead = f"{name}.dlq"
        self._kind = kind

    async def declare(self) -> "Work":
        await self.channel.declare_queue(self.dead, durable=True)
        arguments: FieldTable = {
            "x-queue-type": self._kind,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.dead,
        }
        await self.channel.declare_queue(self.name, durable=True, arguments=arguments)
        return self

    async def delete(self) -> None:
        await self.channel.queue_delete(self.name)

    async def put(self, type: str | None = "work", *, body: bytes | None = None, **payload: object) -> None:  # noqa: A002
        message = aio_pika.Message(
            body if body is not None else json.dumps(payload).encode(),
            type=type,
            message_id=f"id-{payload.get('n')}",
            content_type=None if body is None else str(payload.get("content_type")),
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        )
        await self.channel.default_exchange.publish(message, self.name)

    async def ready(self, queue: str | None = None) -> int:
        declared = await self.channel.declare_queue(queue or self.name, passive=True)
        return int(declared.declaration_result.message_count or 0)

    async def has_ready(self, count: int, queue: str | None = None) -> None:
        async def holds() -> bool:
            return await self.ready(queue) == count

        await eventually(f"{count} ready in {queue or self.name}", holds)

    async def take(self, queue: str) -> AbstractIncomingMessage:
        """The next message, which is gone then."""
        await eventually(f"a message in {queue}", lambda: self.ready(queue))
        message = await (await self.channel.get_queue(queue)).get(no_ack=True)
        assert message is not None
        return message
