"""The sources of the figures: the API server and the broker."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import aio_pika
import httpx

from taskqueue_operator.resource.names import dead_letter_queue
from tests.demo.figures import Counts, Figures

POLL_SECONDS = 0.5


class Broker(NamedTuple):
    """The addresses of the broker, and one queue in the vhost /."""

    amqp: str
    management: str
    queue: str


async def watch_workers(figures: Figures, kubectl: Sequence[str], name: str) -> None:
    """Watch the desired and the ready replicas of the Deployment."""

    def on_line(line: str) -> None:
        replicas, ready = line.split("/")
        figures.on_deployment(int(replicas), int(ready or 0))

    await _follow(
        [*kubectl, "deployment", name, "--output=jsonpath={.spec.replicas}/{.status.readyReplicas}{'\\n'}"], on_line
    )


async def watch_desired(figures: Figures, kubectl: Sequence[str], name: str) -> None:
    """Watch the desired replicas of the operator."""

    def on_line(line: str) -> None:
        figures.desired = int(line or 0)

    await _follow([*kubectl, "taskqueue", name, "--output=jsonpath={.status.desiredReplicas}{'\\n'}"], on_line)


async def watch_ready(figures: Figures, broker: Broker) -> None:
    """Poll the ready messages of the queue and of its dead-letter queue over AMQP, where they are current."""
    async with await aio_pika.connect(broker.amqp, timeout=10) as connection:
        channel = await connection.channel()
        while True:
            figures.ready = await _depth(channel, broker.queue)
            figures.dead = await _depth(channel, dead_letter_queue(broker.queue))
            await asyncio.sleep(POLL_SECONDS)


async def watch_counts(figures: Figures, broker: Broker) -> None:
    """Poll the counts of the management API, which it updates every 5 s."""
    while True:
        figures.counts = await counts(broker)
        await asyncio.sleep(POLL_SECONDS)


async def counts(broker: Broker) -> Counts:
    """Request the counts once."""
    async with httpx.AsyncClient(base_url=broker.management, timeout=10) as client:
        answer = (await client.get(f"/api/queues/%2F/{broker.queue}")).raise_for_status().json()
    statistics = answer.get("message_stats", {})
    return Counts(answer.get("messages_unacknowledged", 0), statistics.get("ack", 0), statistics.get("redeliver", 0))


async def _depth(channel: aio_pika.abc.AbstractChannel, queue: str) -> int:
    declared = await channel.declare_queue(queue, passive=True, timeout=10)
    return declared.declaration_result.message_count or 0


async def _follow(command: Sequence[str], on_line: Callable[[str], None]) -> None:
    """Pass every line of a `kubectl get --watch` to `on_line`; restart it when the API server ends it."""
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
                on_line(line.decode().strip())
        finally:
            if kubectl.returncode is None:
                kubectl.kill()
            await kubectl.wait()
        await asyncio.sleep(POLL_SECONDS)
