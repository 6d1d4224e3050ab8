"""A worker consumes every queue whose name the CRD and RabbitMQ accept."""

import random
import string
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from taskqueue_operator.resource.queue import Queue
from tests.integration.worker.conftest import StartWorker

EXAMPLES = ["jobs (new)", "a.b+c[d]^$", "%2Fx", "<a>", "{b}", "a/b c", '"', "\\", "~!?*&=|;'`", "q" * 200]


def names() -> list[str]:
    """Return names of all characters that the CRD accepts."""
    generator = random.Random(16)
    characters = [character for character in map(chr, range(33, 127)) if character != ","]
    generator.shuffle(characters)
    generated = ["".join(characters[n : n + 12]) for n in range(0, len(characters), 12)]
    ascii_names = ["".join(generator.choices(string.ascii_letters + "-_.:@/", k=20)) for _ in range(5)]
    return [*EXAMPLES, *generated, *ascii_names]


def path(name: str) -> str:
    return f"/api/queues/%2F/{quote(name, safe='')}"


@pytest.fixture
def queues(management: httpx.Client) -> Iterator[list[str]]:
    """Queues of these names, each with a task whose number is the place of the name."""
    queues = names()
    for n, name in enumerate(queues):
        arguments = {"x-queue-type": "classic"}
        management.put(path(name), json={"durable": True, "arguments": arguments}).raise_for_status()
        message = {"properties": {"type": "work"}, "routing_key": name, "payload": f'{{"n": {n}}}'}
        message["payload_encoding"] = "string"
        management.post("/api/exchanges/%2F/amq.default/publish", json=message).raise_for_status()
    yield queues
    for name in queues:
        management.delete(path(name)).raise_for_status()


async def test_a_worker_consumes_every_queue_that_the_crd_accepts(queues: list[str], start_worker: StartWorker) -> None:
    for name in queues:
        Queue.model_validate({"name": name})
    worker = start_worker(queues=",".join(queues), concurrency="4")
    for n in range(len(queues)):
        await worker.wait_for_ledger(f"started {n}")
