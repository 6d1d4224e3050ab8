"""Countdowns, ETAs and retries of Celery with what the operator declares, and no right to declare any of it."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from taskqueue_operator.resource.names import CELERY_LEVELS, PARKING
from taskqueue_operator.resource.taskqueue import TaskQueue
from taskqueue_operator.topology.celery_delays import celery_delays, parking_steps
from taskqueue_operator.topology.desired import desired
from taskqueue_operator.topology.objects import Binding, Topology
from tests.cluster.broker import Broker
from tests.integration.celery.conftest import StartCelery
from tests.integration.celery.running_celery import RunningCelery
from tests.integration.worker import management_api as api
from tests.integration.worker.declaration import declare
from tests.integration.worker.declared_queue import DeclaredQueue
from tests.integration.worker.eventually import eventually
from tests.integration.worker.fake_operator import FakeOperator
from tests.permissions import RIGHTS, documented
from tests.unit.topology.builders import OWNER
from tests.unit.topology.builders import taskqueue as parsed

OPTIONS = ("-I", "taskqueue_drain.celery", "--without-gossip", "--without-mingle")
REMOTE_CONTROL = r"celery@.*|celeryev.*|.*pidbox.*"
"""What Celery declares for itself."""


@pytest.fixture
def vhost(management: httpx.Client, taskqueue: str) -> Iterator[str]:
    """A vhost in which no Celery has declared anything."""
    api.put_vhost(management, taskqueue)
    yield taskqueue
    api.delete_vhost(management, taskqueue)


@pytest.fixture
async def channel(broker: Broker, vhost: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(f"{broker.url}{quote(vhost, safe='')}") as connection:
        yield await connection.channel()


@pytest.fixture
async def queue(channel: AbstractChannel, taskqueue: str) -> DeclaredQueue:
    """The queue of a TaskQueue with delayedDelivery, as the operator declares it."""
    spec = _spec(taskqueue)
    await declare(channel, desired(spec, "default"))
    await declare(channel, celery_delays(spec.key.name, OWNER))
    return DeclaredQueue(channel, spec.key.name)


def _spec(taskqueue: str) -> TaskQueue:
    name = f"jobs-{taskqueue.partition('/')[2]}"
    return parsed(name, exchange={"type": "Topic"}, queue={"delayedDelivery": "Celery"})


@pytest.fixture
def celery_url(management: httpx.Client, queue: DeclaredQueue, taskqueue: str, user_url: str) -> str:
    """The URL of a user with the documented rights, and those on what Celery declares for itself."""
    grants = documented("worker", queue.name, queue.name)
    allowed = {right: [grant.pattern for grant in grants if grant.right == right] for right in RIGHTS}
    patterns = {right: f"^({'|'.join([REMOTE_CONTROL, *names])})$" for right, names in allowed.items()}
    # Tasks are published to the exchange of the TaskQueue.
    patterns["write"] = f"^({'|'.join([REMOTE_CONTROL, queue.name, *allowed['write']])})$"
    api.put_permissions(management, taskqueue, taskqueue, patterns)
    return f"{user_url}{quote(taskqueue, safe='')}"


@pytest.fixture
def start(start_celery: StartCelery, celery_url: str, queue: DeclaredQueue) -> StartCelery:
    def start(*options: str, **variables: str) -> RunningCelery:
        defaults = {"RABBITMQ_URL": celery_url, "EXCHANGE": queue.name, "ACKS_LATE": "1"}
        return start_celery(*OPTIONS, *options, **defaults | variables)

    return start


async def delayed(queue: DeclaredQueue) -> int:
    """Return how many tasks are delayed on the broker."""
    return sum([await queue.ready(name) for name in CELERY_LEVELS[:4]])


async def test_tasks_with_a_countdown_and_retries_wait_on_the_broker_whatever_happens_to_the_workers(
    start: StartCelery, queue: DeclaredQueue, operator: FakeOperator
) -> None:
    worker = start()
    await operator.wait_for_report(state="consuming")
    await worker.command("call", "again", "--kwargs", '{"n": 1}')
    await worker.wait_for_ledger("started 1")
    await worker.command("call", "work", "--kwargs", '{"n": 2}', "--countdown", "6")
    await eventually("the retry and the task wait on the broker", lambda: delayed_is(queue, 2))
    report = await operator.done("drain")
    assert (report["in_flight"], report["prefetched"], await queue.ready()) == (0, 0, 0)
    worker.kill()
    other = start()
    await other.wait_for_ledger("finished 1", "finished 2")
    await operator.wait_for_report(state="consuming", in_flight=0, prefetched=0)
    assert sorted(other.ledger) == ["finished 1", "finished 2", "started 1", "started 1", "started 2"]
    assert (await queue.ready(), await delayed(queue)) == (0, 0)


async def delayed_is(queue: DeclaredQueue, count: int) -> bool:
    return await delayed(queue) == count


async def test_a_delayed_task_whose_queue_was_deleted_is_parked(
    start: StartCelery, channel: AbstractChannel, queue: DeclaredQueue
) -> None:
    worker = start()
    await worker.wait_for_log("ready.")
    await worker.command("call", "work", "--kwargs", '{"n": 1}', "--countdown", "2")
    worker.kill()
    (parked,) = parking_steps(queue.name, celery_delays(queue.name, OWNER))
    assert isinstance(parked.item, Binding)
    await declare(channel, Topology(bindings=frozenset({parked.item})))
    await queue.delete()
    message = await queue.get(PARKING)
    assert message.routing_key is not None
    assert message.routing_key.endswith(f".{queue.name}")


async def test_a_celery_that_may_declare_binds_its_queues_too_and_no_task_is_doubled(
    start: StartCelery, management: httpx.Client, queue: DeclaredQueue, taskqueue: str
) -> None:
    """With another argument of one of the objects it would get a 406, and bind none of its queues."""
    api.put_permissions(management, taskqueue, taskqueue, dict.fromkeys(RIGHTS, ".*"))
    worker = start()
    await worker.wait_for_log("ready.")
    assert "Failed to setup delayed delivery" not in worker.output
    await worker.command("call", "work", "--kwargs", '{"n": 1}', "--countdown", "2")
    await worker.command("call", "work", "--kwargs", '{"n": 2}', "--countdown", "4")
    await worker.wait_for_ledger("finished 1", "finished 2")
    assert sorted(worker.ledger) == ["finished 1", "finished 2", "started 1", "started 2"]
    assert await queue.ready(PARKING) == 0
