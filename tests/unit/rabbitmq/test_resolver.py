"""Name resolution in virtual time: hosts whose DNS server is silent delay no other host."""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence

import pytest

from taskqueue_operator.rabbitmq.resolver import FRESH_SECONDS, UNKNOWN_SECONDS, WAIT_SECONDS, Resolver, look_up
from taskqueue_operator.resource import bounds

pytestmark = pytest.mark.looptime

ADDRESSES = ("192.0.2.1", "192.0.2.2")


class Dns:
    """Answers at once, for names that end in `.silent` after half a minute."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.busy = 0
        self.busiest = 0
        self.error: OSError | None = None

    async def look_up(self, host: str) -> Sequence[str]:
        self.asked[host] += 1
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(30 if host.endswith(".silent") else 0.01)
        finally:
            self.busy -= 1
        if self.error is not None or host.endswith(".silent"):
            raise self.error or TimeoutError
        return ADDRESSES


@pytest.fixture
def dns() -> Dns:
    return Dns()


@pytest.fixture
def resolver(dns: Dns) -> Resolver:
    return Resolver(dns.look_up)


async def ask(resolver: Resolver, host: str, namespace: str = "media") -> Sequence[str]:
    """Ask as a connection does, which gives up after a while."""
    try:
        async with asyncio.timeout(5):
            return await resolver.addresses(host, namespace)
    except OSError:
        return ()


async def test_an_address_is_not_looked_up(resolver: Resolver, dns: Dns) -> None:
    assert [await resolver.addresses(host) for host in ("10.0.0.1", "::1")] == [("10.0.0.1",), ("::1",)]
    assert not dns.asked


async def test_simultaneous_and_later_callers_share_one_answer(resolver: Resolver, dns: Dns) -> None:
    assert await asyncio.gather(*(resolver.addresses("broker") for _ in range(50))) == [ADDRESSES] * 50
    await asyncio.sleep(FRESH_SECONDS - 1)
    assert await resolver.addresses("broker") == ADDRESSES
    assert dns.asked["broker"] == 1


async def test_an_old_answer_is_used_while_the_dns_fails(resolver: Resolver, dns: Dns) -> None:
    await resolver.addresses("broker")
    dns.error = socket.gaierror(socket.EAI_AGAIN, "no answer")
    for _ in range(10):
        await asyncio.sleep(FRESH_SECONDS + 1)
        assert await resolver.addresses("broker") == ADDRESSES
    assert dns.asked["broker"] >= 10


async def test_after_a_failed_connection_the_name_is_looked_up_again(resolver: Resolver, dns: Dns) -> None:
    await resolver.addresses("broker")
    resolver.forget("broker")
    assert await resolver.addresses("broker") == ADDRESSES
    assert dns.asked["broker"] == 2


async def test_an_unknown_name_is_asked_for_only_now_and_then(resolver: Resolver, dns: Dns) -> None:
    dns.error = socket.gaierror(socket.EAI_NONAME, "unknown")
    for _ in range(20):
        with pytest.raises(socket.gaierror):
            await resolver.addresses("nowhere")
        await asyncio.sleep(UNKNOWN_SECONDS / 10)
    assert dns.asked["nowhere"] == 2


async def test_a_silent_name_costs_one_lookup_however_many_wait_for_it(resolver: Resolver, dns: Dns) -> None:
    started = asyncio.get_running_loop().time()
    outcomes = await asyncio.gather(*(resolver.addresses("broker.silent") for _ in range(300)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {TimeoutError}
    assert asyncio.get_running_loop().time() - started == pytest.approx(WAIT_SECONDS)
    assert dns.asked["broker.silent"] == 1


async def test_many_silent_names_delay_no_other_name(resolver: Resolver, dns: Dns) -> None:
    """300 tenants name brokers whose DNS server is silent, again and again; others come and ask for the first time."""

    async def keep_asking(number: int) -> None:
        while True:
            await ask(resolver, f"{number}.silent", f"tenant-{number}")
            await asyncio.sleep(2)

    tasks = [asyncio.create_task(keep_asking(number)) for number in range(300)]
    await asyncio.sleep(300)  # every silent name has been slow once
    late = []
    for n in range(100):
        started = asyncio.get_running_loop().time()
        assert await ask(resolver, f"broker-{n}") == ADDRESSES
        late.append(asyncio.get_running_loop().time() - started)
        await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()

    assert max(late) < 0.1
    assert dns.busiest <= bounds.LOOKUPS


async def test_a_namespace_with_many_silent_names_delays_no_name_of_another_one(resolver: Resolver, dns: Dns) -> None:
    """All are new, as after a restart; one of the silent names is that of the other namespace too, and answers late."""
    many = [asyncio.create_task(ask(resolver, f"{n}.silent", "many")) for n in range(2000)]
    shared = asyncio.create_task(ask(resolver, "broker", "many"))
    await asyncio.sleep(0.1)
    assert dns.busy == bounds.LOOKUPS_PER_NAMESPACE
    started = asyncio.get_running_loop().time()
    assert await ask(resolver, "broker") == ADDRESSES
    assert asyncio.get_running_loop().time() - started < 0.1
    await asyncio.gather(*many, shared)
    assert await ask(resolver, "broker", "many") == ADDRESSES
    assert dns.asked["broker"] == 1


async def test_slow_names_of_a_namespace_delay_no_new_name_of_it(resolver: Resolver, dns: Dns) -> None:
    for _ in range(2):
        many = [asyncio.create_task(ask(resolver, f"{n}.silent")) for n in range(200)]
        await asyncio.gather(*many)
        await asyncio.sleep(200)
    many = [asyncio.create_task(ask(resolver, f"{n}.silent")) for n in range(200)]
    await asyncio.sleep(0.1)
    assert dns.busy == bounds.LOOKUPS_PER_NAMESPACE // 2
    assert await ask(resolver, "broker") == ADDRESSES
    await asyncio.gather(*many)


@pytest.mark.looptime(False)
async def test_a_real_name_is_resolved_in_a_thread() -> None:
    assert set(await look_up("localhost")) <= {"127.0.0.1", "::1"}
    for name in ("nowhere.invalid", "a" * 64 + ".invalid", "\udcff"):
        with pytest.raises(socket.gaierror):
            await look_up(name)
