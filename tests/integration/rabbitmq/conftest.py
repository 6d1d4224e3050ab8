import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote
from uuid import uuid4

import aiormq
import httpx
import pytest
from aiormq.abc import AbstractChannel, AbstractConnection

from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.secret import parse_secret
from taskqueue_operator.rabbitmq.vhost import Vhost, VhostFactory
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Probe
from taskqueue_operator.topology.diff import Step, diff
from taskqueue_operator.topology.objects import Topology
from taskqueue_operator.topology.opening import until_kept
from taskqueue_operator.topology.queue_policies import main_policy
from taskqueue_operator.topology.queue_settings import settings_requirement
from tests.approved import assert_approved
from tests.cluster.broker import Broker
from tests.idle_connections import KEEP_BRIEFLY
from tests.unit.topology.builders import OWNER, desired_topology

PASSWORD = "p@ss/w:rd%#?"


class Connect(Protocol):
    def __call__(self, **keys: str) -> Vhost: ...


class MakeUser(Protocol):
    def __call__(
        self, tags: str, *, configure: str = ".*", write: str = ".*", read: str = ".*", password: str = PASSWORD
    ) -> str: ...


def approve(key: str, message: str, placeholders: Mapping[str, str]) -> None:
    """Compare a message with the approved one, after replacing values of this run, in their order, by placeholders.

    Each value has to occur in the message: a message that names another one is not the approved one.
    """
    assert [value for value in placeholders if value not in message] == []
    for value, placeholder in placeholders.items():
        message = message.replace(value, placeholder)
    assert_approved(key, message)


def secret_data(broker: Broker, **keys: str) -> dict[str, bytes]:
    """Return the data of a Secret for the broker; `management_uri` stands for the key management-uri, and so on."""
    secret = {
        "host": "127.0.0.1",
        "port": str(broker.amqp_port),
        "username": "guest",
        "password": "guest",
        "management-uri": broker.management_url,
    } | {key.replace("_", "-"): value for key, value in keys.items()}
    return {key: value.encode() for key, value in secret.items()}


async def declare(rabbitmq: Vhost, desired: Topology) -> tuple[Step, ...]:
    """Apply the steps to a topology, and return them."""
    steps = diff(desired, await rabbitmq.topology(), owner=OWNER)
    await rabbitmq.apply(steps)
    return steps


async def declare_jobs(rabbitmq: Vhost, **queue: object) -> None:
    """Declare queue `jobs` with these settings, round by round as the operator does."""
    desired = desired_topology(queue=queue)
    while True:
        actual = await rabbitmq.topology()
        settings = settings_requirement("jobs", "jobs", (), actual)
        policy = main_policy("jobs", [settings] if settings is not None else [], actual)
        wanted = replace(desired, policies={policy.name: policy} if policy is not None else {})
        steps = until_kept(diff(wanted, actual, owner=OWNER), desired.queues["jobs"], actual)
        if not steps:
            return
        await rabbitmq.apply(steps)


async def probed(rabbitmq: Vhost, queue: str) -> Probe:
    """Return the answer to a probe sent after this call; a busy machine may need several."""
    started = datetime.now(UTC)
    async with asyncio.timeout(120):
        while True:
            answer = (await rabbitmq.probe([queue])).get(queue)
            if answer is not None and answer.at >= started:
                return answer
            await asyncio.sleep(0.05)


async def until_got(channel: AbstractChannel, queue: str) -> int:
    """Get a message, and return its delivery tag; what was given back is ready a moment later."""
    async with asyncio.timeout(120):
        while (tag := (await channel.basic_get(queue)).delivery_tag) is None:  # noqa: ASYNC110  no event says it
            await asyncio.sleep(0.05)
    return tag


@pytest.fixture
def admin(broker: Broker) -> Iterator[httpx.Client]:
    """A client of the management API that does not use the code under test."""
    with httpx.Client(
        base_url=f"{broker.management_url}/api", auth=("guest", "guest"), timeout=120, limits=KEEP_BRIEFLY
    ) as client:
        yield client


@pytest.fixture
def vhost(admin: httpx.Client) -> Iterator[str]:
    """A vhost for one test, with a name that must be quoted in every path."""
    name = f"tests/{uuid4().hex[:8]} 100%"
    path = f"/vhosts/{quote(name, safe='')}"
    admin.put(path).raise_for_status()
    yield name
    admin.delete(path)


@pytest.fixture
def endpoint(broker: Broker, vhost: str) -> Callable[..., Endpoint]:
    """Parses a Secret for the vhost; arguments replace its keys."""
    return lambda **keys: parse_secret(Key("media", "rabbitmq"), secret_data(broker, **keys), vhost)


@pytest.fixture
async def connect(broker: Broker, vhost: str) -> AsyncIterator[Connect]:
    """Connects to the vhost as the operator does, from a Secret; `management_uri` stands for management-uri."""
    made: list[Vhost] = []
    factory = VhostFactory(lambda: datetime.now(UTC))

    def connect(**keys: str) -> Vhost:
        data = secret_data(broker, **{key: value for key, value in keys.items() if key != "vhost"})
        made.append(factory.connect(factory.endpoint(Key("media", "rabbitmq"), data, keys.get("vhost", vhost))))
        return made[-1]

    yield connect
    for opened in made:
        await opened.close()


@pytest.fixture
def user(admin: httpx.Client, vhost: str) -> Iterator[MakeUser]:
    """Creates users with PASSWORD and with permissions in the vhost."""
    made: list[str] = []

    def user(tags: str, *, configure: str = ".*", write: str = ".*", read: str = ".*", password: str = PASSWORD) -> str:
        name = f"app-{uuid4().hex[:8]}"
        made.append(name)
        admin.put(f"/users/{name}", json={"password": password, "tags": tags}).raise_for_status()
        admin.put(
            f"/permissions/{quote(vhost, safe='')}/{name}",
            json={"configure": configure, "write": write, "read": read},
        ).raise_for_status()
        return name

    yield user
    for name in made:
        admin.delete(f"/users/{name}")


@pytest.fixture
async def amqp(broker: Broker, vhost: str) -> AsyncIterator[AbstractConnection]:
    """A plain AMQP client, as publishers and workers use it."""
    connection = await aiormq.connect(broker.url.rstrip("/") + "/" + quote(vhost, safe=""))
    yield connection
    await connection.close()
