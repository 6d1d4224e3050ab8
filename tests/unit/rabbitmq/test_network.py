"""What the connections of this process share."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest

from taskqueue_operator.rabbitmq.network import Network
from taskqueue_operator.rabbitmq.resolver import Resolver
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.faults import BrokerFault

from .fake_amqp import ENDPOINT

pytestmark = pytest.mark.looptime

ADDRESSES: Final = ("192.0.2.1", "192.0.2.2", "192.0.2.3")


@pytest.fixture
def network() -> Network:
    async def look_up(_: str) -> Sequence[str]:
        return ADDRESSES

    return Network(Resolver(look_up))


async def test_the_addresses_of_a_host_are_tried_in_order(network: Network) -> None:
    tried = []

    async def connect(address: str) -> str:
        tried.append(address)
        if address == ADDRESSES[0]:
            raise ConnectionRefusedError
        if address == ADDRESSES[1]:
            await asyncio.Event().wait()
        return "connected"

    assert await network.first_address("broker", "media", connect) == "connected"
    assert tried == [*ADDRESSES]


async def test_the_error_of_the_last_address_is_raised(network: Network) -> None:
    async def connect(_: str) -> str:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError):
        await network.first_address("broker", "media", connect)


async def test_connections_to_one_host_are_opened_in_turns(network: Network) -> None:
    busy = Counter[str]()
    busiest = Counter[str]()

    async def connect(host: str) -> None:
        busy[host] += 1
        busiest[host] = max(busiest[host], busy[host])
        await asyncio.sleep(1)
        busy[host] -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(250):
            host = f"broker-{number % 2}"
            group.create_task(network.first_address(host, "media", lambda _, host=host: connect(host)))  # type: ignore[misc]  # mypy cannot infer a default
    assert busiest == {"broker-0": bounds.CONNECTS_PER_HOST, "broker-1": bounds.CONNECTS_PER_HOST}


async def test_connections_with_tls_are_opened_one_after_the_other(network: Network) -> None:
    began: dict[bool, list[float]] = {True: [], False: []}

    async def connect(*, tls: bool) -> None:
        await network.turn_to_connect("media", tls=tls)
        began[tls].append(asyncio.get_running_loop().time())

    await asyncio.gather(*(connect(tls=tls) for _ in range(50) for tls in (True, False)))
    pauses = [after - before for before, after in pairwise(began[True])]
    assert len(began[True]) == len(began[False]) == 50
    assert min(pauses) == pytest.approx(1 / bounds.TLS_HANDSHAKES_PER_SECOND, rel=0.5)
    assert len(set(began[False])) == 1


async def test_endpoints_with_equal_credentials_share_http_connections(network: Network) -> None:
    vhosts = [replace(ENDPOINT, vhost=vhost) for vhost in ("a", "b")]
    first, second = (network.http(endpoint) for endpoint in vhosts)
    other = network.http(replace(ENDPOINT, management_password="another"))

    assert first is second
    assert other is not first
    for endpoint in vhosts:
        await network.release_http(endpoint)
    assert network.http(ENDPOINT) is not first, "the last user closed them"


async def test_so_many_endpoints_are_read_and_no_more(network: Network) -> None:
    for number in range(bounds.READERS_PER_HOST):
        network.admit(replace(ENDPOINT, namespace=f"{number % 2}"))
    with pytest.raises(BrokerFault) as of_host:
        network.admit(ENDPOINT)
    for number in range(bounds.READERS - bounds.READERS_PER_HOST):
        network.admit(replace(ENDPOINT, host=f"broker-{number}", namespace=f"{number % 5}"))
    with pytest.raises(BrokerFault):
        network.admit(replace(ENDPOINT, host="another"))
    network.dismiss(replace(ENDPOINT, namespace="0"))
    network.admit(replace(ENDPOINT, host="another"))
    assert str(bounds.READERS_PER_HOST) in of_host.value.message


async def test_a_namespace_has_a_share_of_the_endpoints(network: Network) -> None:
    many, other = (replace(ENDPOINT, namespace=namespace) for namespace in ("many", "other"))
    for _ in range(bounds.READERS_PER_NAMESPACE):
        network.admit(many)
    with pytest.raises(BrokerFault):
        network.admit(many)
    network.admit(other)
    network.dismiss(many)
    network.admit(many)


async def test_a_namespace_that_connects_again_and_again_delays_no_connection_of_another_one(network: Network) -> None:
    connected = Counter[str]()

    async def refuse(_: str) -> None:
        connected["many"] += 1
        raise ConnectionRefusedError

    async def keep_connecting(host: str) -> None:
        while True:
            await network.turn_to_connect("many", tls=False)
            with suppress(ConnectionRefusedError):
                await network.first_address(host, "many", refuse)
            await asyncio.sleep(0.5)

    async def accept(_: str) -> None:
        connected["other"] += 1

    tasks = [asyncio.create_task(keep_connecting(f"broker-{number}")) for number in range(2000)]
    await asyncio.sleep(10)
    began = asyncio.get_running_loop().time()
    for number in range(20):
        await network.turn_to_connect("other", tls=False)
        await network.first_address(f"good-{number}", "other", accept)
    assert asyncio.get_running_loop().time() - began < 20 * 3 / bounds.CONNECTS_PER_SECOND
    for task in tasks:
        task.cancel()
    assert connected["other"] == 20
    assert connected["many"] <= 3 * 12 * bounds.CONNECTS_PER_SECOND, "three addresses; a second's worth at once"


def test_endpoints_with_equal_certificates_share_one_tls_context() -> None:
    contexts = {replace(ENDPOINT, password=str(number)).ssl_context() for number in range(250)}
    assert len(contexts) == 1
    assert ENDPOINT.ssl_context("http") not in contexts, "the HTTP library writes into it"
