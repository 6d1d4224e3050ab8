"""Resolves host names in threads of its own, and keeps the answers.

The event loop's own resolver has two threads for all: two names whose DNS server is silent would stop everybody.
"""

import asyncio
import ipaddress
import socket
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from taskqueue_operator.resource import bounds

from .clock import loop_time

FRESH_SECONDS: Final = 30.0
"""Addresses of this age are used without asking again; the DNS of a cluster itself keeps them as long."""
UNKNOWN_SECONDS: Final = 5.0
"""A host that does not exist is not asked for again for this time."""
WAIT_SECONDS: Final = 4.0
"""A caller waits this long for an answer; the lookup itself goes on."""
SLOW_SECONDS: Final = 1.0
"""A lookup that takes longer makes its host a slow one."""

Lookup = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(slots=True, eq=False)
class _Host:
    addresses: Sequence[str] = ()
    answered_at: float = 0.0
    error: OSError | None = None
    slow: bool = False
    lookups: "dict[str, asyncio.Task[None]]" = field(default_factory=dict, repr=False)


async def look_up(host: str) -> Sequence[str]:
    """Resolve a host name in a thread that nothing waits for at exit.

    Raises:
        OSError: The name is not known, or the DNS does not answer.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def settle(addresses: Sequence[str], error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def resolve() -> None:
        addresses: Sequence[str] = ()
        error: Exception | None = None
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
        except (OSError, UnicodeError) as failure:
            error = failure if isinstance(failure, OSError) else socket.gaierror(socket.EAI_NONAME, "invalid name")
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, addresses, error)

    threading.Thread(target=resolve, name=f"resolve {host}", daemon=True).start()
    return await answer


class _Slots:
    """Slots for lookups; slow hosts never hold more than half of them."""

    def __init__(self, total: int) -> None:
        self._all = asyncio.Semaphore(total)
        self._slow = asyncio.Semaphore(total // 2)

    @asynccontextmanager
    async def taken(self, *, slow: bool) -> AsyncIterator[None]:
        """Wait for a slot, and hold it."""
        async with self._slow if slow else nullcontext(), self._all:
            yield


class Resolver:
    """Resolves each host once at a time and namespace, and hosts that were slow only in half of the threads.

    A namespace has a share of the threads. A host that several namespaces name waits for the share of each of them; the
    first answer is that of all.

    An old answer is used while a new one is awaited, so a DNS server that fails does no harm to hosts that were
    resolved before. A connection that fails makes its host's answer invalid: `forget`.
    """

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._slots = _Slots(bounds.LOOKUPS)
        self._shares: WeakValueDictionary[str, _Slots] = WeakValueDictionary()

    async def addresses(self, host: str, namespace: str = "") -> Sequence[str]:
        """Return the addresses of a host that a namespace names, in the order in which to try them.

        Raises:
            OSError: The name is not known, or the DNS does not answer in time (`TimeoutError`).
        """
        if _is_address(host):
            return (host,)
        known = self._host(host)
        age = loop_time() - known.answered_at
        if known.error is not None and age < UNKNOWN_SECONDS:
            raise known.error
        if not known.addresses or age > FRESH_SECONDS:
            await self._refresh(host, known, namespace)
        if not known.addresses:
            raise known.error or TimeoutError
        return known.addresses

    def forget(self, host: str) -> None:
        """Ask again before the next connection: none could be made to the known addresses."""
        if host in self._hosts:
            self._hosts[host].addresses = ()

    def _host(self, name: str) -> _Host:
        known = self._hosts.setdefault(name, _Host())
        self._hosts.move_to_end(name)
        if len(self._hosts) > bounds.RESOLVED_HOSTS:
            self._hosts.popitem(last=False)
        return known

    async def _refresh(self, name: str, known: _Host, namespace: str) -> None:
        """Start a lookup unless one is under way; wait for it if there is no old answer."""
        lookup = known.lookups.get(namespace)
        if lookup is None:
            lookup = asyncio.create_task(self._look_up(name, known, namespace), name=f"look up {name}")
            known.lookups[namespace] = lookup
        if not known.addresses:
            await asyncio.wait([lookup], timeout=WAIT_SECONDS)

    async def _look_up(self, name: str, known: _Host, namespace: str) -> None:
        share = self._shares.get(namespace)
        if share is None:
            share = self._shares[namespace] = _Slots(bounds.LOOKUPS_PER_NAMESPACE)
        before = known.answered_at
        try:
            async with share.taken(slow=known.slow), self._slots.taken(slow=known.slow):
                if known.answered_at == before:  # otherwise another namespace has asked meanwhile
                    await self._ask(name, known)
        finally:
            del known.lookups[namespace]

    async def _ask(self, name: str, known: _Host) -> None:
        asked_at = loop_time()
        try:
            known.addresses, known.error = (await self._lookup(name))[: bounds.ADDRESSES], None
        except OSError as error:
            # Old addresses stay in use: a DNS server that fails for a while changes nothing.
            known.error = error if not known.addresses else None
        known.answered_at = loop_time()
        known.slow = known.answered_at - asked_at > SLOW_SECONDS


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
