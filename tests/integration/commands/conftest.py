"""The command as a process, and dead letters on a real broker."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from tests.cluster.broker import Broker
from tests.idle_connections import KEEP_BRIEFLY
from tests.integration.worker.eventually import eventually

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Done:
    """What a command has printed, and its exit code."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.output))


@dataclass
class Dlq:
    """Runs `taskqueue-operator dlq` with an environment of its own."""

    environment: dict[str, str]
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command."""
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "operator")}
        process = subprocess.Popen(
            [sys.executable, "-m", "taskqueue_operator", "dlq", *arguments],
            env=base | self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    async def run(self, *arguments: str, **variables: str) -> Done:
        """Run a command to its end."""
        process = self.start(*arguments, **variables)
        output, errors = await asyncio.to_thread(process.communicate, timeout=TIMEOUT_SECONDS)
        return Done(process.returncode, output, errors)

    def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@dataclass(frozen=True)
class Queues:
    """A queue and its dead-letter queue, which the operator would declare."""

    channel: AbstractChannel
    name: str
    admin: httpx.AsyncClient

    @property
    def dead_letters(self) -> str:
        return f"{self.name}.dlq"

    async def publish(self, *messages: aio_pika.Message) -> None:
        """Publish to the dead-letter queue, in order, with confirms."""
        publish = self.channel.default_exchange.publish
        for start in range(0, len(messages), 100):
            await asyncio.gather(*(publish(message, self.dead_letters) for message in messages[start : start + 100]))

    async def ready(self, queue: str) -> int:
        declared = await self.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def wait_for(self, queue: str, holds: Callable[[int], bool]) -> None:
        """Wait until the number of ready messages is as asked."""

        async def is_so() -> bool:
            return holds(await self.ready(queue))

        await eventually(f"{queue} is as asked", is_so)

    async def wait_until_returned(self, count: int) -> None:
        """Wait until the broker has taken back what a killed process held of so many messages."""

        async def all_are_ready() -> bool:
            return await self.ready(self.name) + await self.ready(self.dead_letters) >= count

        await eventually("all are ready", all_are_ready)

    async def wait_until_described(self, queue: str) -> None:
        """Wait until the management API shows which policy applies to the queue: older brokers take some seconds."""

        async def is_described() -> bool:
            answer = await self.admin.get(f"/queues/%2F/{queue}")
            return answer.is_success and "effective_policy_definition" in answer.json()

        await eventually(f"{queue} is described", is_described)

    async def drained(self, queue: str) -> list[AbstractIncomingMessage]:
        """Remove and return all ready messages."""
        found: list[AbstractIncomingMessage] = []
        source = await self.channel.get_queue(queue)
        while (message := await source.get(no_ack=True, fail=False)) is not None:
            found.append(message)
        return found


def dead_letter(number: int, queue: str, **headers: Any) -> aio_pika.Message:  # noqa: ANN401  any value of a header
    """Return a dead letter as a worker publishes it."""
    failure: dict[str, Any] = {
        "x-failure-reason": "failed",
        "x-failure-class": "LookupError",
        "x-failure-text": "no such image",
        "x-attempt": 3,
        "x-first-failure-at": "2026-11-28T11:00:00.000+00:00",
        "x-last-failure-at": "2026-11-28T12:00:00.000+00:00",
        "x-original-queue": queue,
        "x-original-exchange": "images",
        "x-original-routing-key": "image.resize",
        "ratio": 0.1,
    }
    return aio_pika.Message(
        b'{"n": %d}' % number,
        headers=failure | {name.replace("_", "-"): value for name, value in headers.items()},
        message_id=f"id-{number}",
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


@pytest.fixture
def dlq(broker: Broker) -> Iterator[Dlq]:
    """The command, with the URI of the broker."""
    made = Dlq({"RABBITMQ_URL": broker.url})
    yield made
    made.close()


class MakeUser(Protocol):
    """Creates a user with these permissions; returns the command with its URI, and its name."""

    def __call__(self, permissions: dict[str, str]) -> tuple[Dlq, str]: ...


@pytest.fixture
def user(broker: Broker) -> Iterator[MakeUser]:
    made: list[tuple[Dlq, str]] = []
    with httpx.Client(
        base_url=f"{broker.management_url}/api", auth=("guest", "guest"), timeout=120, limits=KEEP_BRIEFLY
    ) as admin:

        def make(permissions: dict[str, str]) -> tuple[Dlq, str]:
            name = f"dlq-{uuid4().hex[:8]}"
            admin.put(f"/users/{name}", json={"password": "p@ss", "tags": ""}).raise_for_status()
            admin.put(f"/permissions/%2F/{name}", json=permissions).raise_for_status()
            uri = broker.url.replace("guest:guest", name)
            made.append((Dlq({"RABBITMQ_URL": uri, "RABBITMQ_PASSWORD": "p@ss"}), name))
            return made[-1]

        yield make
        for command, name in made:
            command.close()
            admin.delete(f"/users/{name}")


@pytest.fixture
async def queues(broker: Broker) -> AsyncIterator[Queues]:
    connection = await aio_pika.connect(broker.url)
    admin = httpx.AsyncClient(base_url=f"{broker.management_url}/api", auth=("guest", "guest"), limits=KEEP_BRIEFLY)
    async with connection, admin:
        channel = await connection.channel(on_return_raises=True)
        name = f"dlq-{uuid4().hex[:8]}"
        await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})
        await channel.declare_queue(
            f"{name}.dlq", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
        )
        yield Queues(channel, name, admin)
        for queue in (name, f"{name}.dlq"):
            await channel.queue_delete(queue)
        await channel.close()
