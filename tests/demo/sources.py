"""Where the figures come from."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import aio_pika
import httpx

from taskqueue_operator.resource.names import dead_letter_queue
from tests.demo.figures import Counts, Figures

EVERY_SECONDS = 0.5


class Broker(NamedTuple):
    """A way to one queue in the vhost /."""

    amqp: str
    management: str
    queue: str


async def watch_workers(figures: Figures, kubectl: Sequence[str], name: str) -> None:
    """Hear from the API server how many workers are asked for and how many are ready."""

    def heard(line: str) -> None:
        replicas, ready = line.split("/")
        figures.scaled(int(replicas), int(ready or 0))

    await _follow(
        [*kubectl, "deployment", name, "--output=jsonpath={.spec.replicas}/{.status.readyReplicas}{'\\n'}"], heard
    )


async def watch_desired(figures: Figures, kubectl: Sequence[str], name: str) -> None:
    """Hear from the API server how many workers the operator wants."""

    def heard(line: str) -> None:
        figures.desired = int(line or 0)

    await _follow([*kubectl, "taskqueue", name, "--output=jsonpath={.status.desiredReplicas}{'\\n'}"], heard)


async def watch_ready(figures: Figures, broker: Broker) -> None:
    """Ask the queue itself, at once true, how many messages wait in it and in its dead-letter queue."""
    async with await aio_pika.connect(broker.amqp, timeout=10) as connection:
        channel = await connection.channel()
        while True:
            figures.ready = await _depth(channel, broker.queue)
            figures.dead = await _depth(channel, dead_letter_queue(broker.queue))
            await asyncio.sleep(EVERY_SECONDS)


async def watch_counts(figures: Figures, broker: Broker) -> None:
    """Ask the management API, true every 5 s, what was delivered, acknowledged and delivered again."""
    while True:
        figures.counts = await counts(broker)
        await asyncio.sleep(EVERY_SECONDS)


async def counts(broker: Broker) -> Counts:
    """Ask once."""
    async with httpx.AsyncClient(base_url=broker.management, timeout=10) as client:
        answer = (await client.get(f"/api/queues/%2F/{broker.queue}")).raise_for_status().json()
    statistics = answer.get("message_stats", {})
    return Counts(answer.get("messages_unacknowledged", 0), statistics.get("ack", 0), statistics.get("redeliver", 0))


async def _depth(channel: aio_pika.abc.AbstractChannel, queue: str) -> int:
    declared = await channel.declare_queue(queue, passive=True, timeout=10)
    return declared.declaration_result.message_count or 0


async def _follow(command: Sequence[str], heard: Callable[[str], None]) -> None:
    """Pass on every line of a `kubectl get --watch`, and start it again when the API server ends it."""
    while True:
        kubectl = await asyncio.create_subprocess_exec(
            *command,
            "--watch",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us
        )
        try:
            assert kubectl.stdout is not None
            async for line in kubectl.stdout:
                heard(line.decode().strip())
        finally:
            if kubectl.returncode is None:
                kubectl.kill()
            await kubectl.wait()
        await asyncio.sleep(EVERY_SECONDS)
