"""What all connections to brokers share: name resolution, and the HTTP connections of equal credentials."""

import asyncio
import importlib.util
import ssl
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import anyio._backends._asyncio  # noqa: F401  otherwise the first lock of httpcore imports it, for 40 ms
import httpcore
from typing_extensions import override

from taskqueue_operator.resource import bounds

from . import faults
from .bodies import Bodies
from .broker_hosts import ANYWHERE, BrokerHosts
from .endpoint import Endpoint
from .http_stream import HttpStream
from .known_listings import KnownListings
from .pace import Pace, work_turns
from .paced_stream import PacedStream
from .resolver import Resolver
from .tls import unused_context
from .turns import Turns

ADDRESS_SECONDS: Final = 3.0
"""How long one of several addresses of a host has to accept a connection."""
HTTP_CONNECTIONS: Final = 8
"""Connections to one management API with the same credentials, of all vhosts together."""
KEEPALIVE_SECONDS: Final = 4.0
"""RabbitMQ closes a connection after 5 s without a request; there is one about every 2.5 s."""

Connected = TypeVar("Connected")

if importlib.util.find_spec("sniffio") is None:
    # Otherwise httpcore searches all directories for this module several times in each request.
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # documented: importing it raises ModuleNotFoundError


class Network:
    """Connects to hosts. There is one for the whole process.

    Attributes:
        bodies: The answers of all management APIs that are being received.
        known_listings: What the listings of all management APIs contain that were read last.
    """

    def __init__(self, resolver: Resolver | None = None, hosts: BrokerHosts = ANYWHERE) -> None:
        self.bodies = Bodies()
        self.known_listings = KnownListings()
        self._http_work = work_turns(bounds.HTTP_WORK_PER_SECOND)
        self._amqp_work = work_turns(bounds.AMQP_WORK_PER_SECOND)
        self._hosts = hosts
        self._resolver = resolver or Resolver()
        self._readers = Counter[str]()
        self._readers_of_namespaces = Counter[str]()
        self._connects = Turns(bounds.CONNECTS_PER_SECOND, at_once=bounds.CONNECTS_PER_SECOND)
        self._connecting: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._pools: dict[tuple[str, ...], _Pool] = {}
        self._handshakes = Turns(bounds.TLS_HANDSHAKES_PER_SECOND)

    def admit(self, endpoint: Endpoint) -> None:
        """Count another reader of an endpoint's host.

        Raises:
            BrokerFault: There are too many, of this host, of its namespace or of all.
        """
        if self._readers[endpoint.address] >= bounds.READERS_PER_HOST:
            raise faults.too_many_readers(endpoint, bounds.READERS_PER_HOST)
        if self._readers_of_namespaces[endpoint.namespace] >= bounds.READERS_PER_NAMESPACE:
            raise faults.too_many_readers(endpoint, bounds.READERS_PER_NAMESPACE)
        if self._readers.total() >= bounds.READERS:
            raise faults.too_many_readers(endpoint, bounds.READERS)
        self._readers[endpoint.address] += 1
        self._readers_of_namespaces[endpoint.namespace] += 1

    def dismiss(self, endpoint: Endpoint) -> None:
        """Record that a reader has ended."""
        self._readers[endpoint.address] -= 1
        self._readers_of_namespaces[endpoint.namespace] -= 1
        self._readers += Counter()  # without the hosts that have none
        self._readers_of_namespaces += Counter()

    def amqp_pace(self, endpoint: Endpoint) -> Pace:
        """Return the pace at which one AMQP connection is read."""
        return Pace(self._amqp_work, endpoint.namespace)

    def http_pace(self, namespace: str) -> Pace:
        """Return the pace at which the answers of one management API are read."""
        return Pace(self._http_work, namespace)

    async def open_stream(
        self, endpoint: Endpoint, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect by AMQP to the first address of an endpoint's host that accepts. The caller sets the timeout.

        Raises:
            OSError: The host is unknown, no address accepts, or TLS fails.
        """
        host, port = endpoint.host, endpoint.port
        name = host if tls is not None else None
        return await self.first_address(
            host,
            endpoint.namespace,
            lambda address: asyncio.open_connection(address, port, ssl=tls, server_hostname=name),
        )

    async def turn_to_connect(self, namespace: str, *, tls: bool) -> None:
        """Wait for a turn of a namespace to open a connection.

        Outside of every timeout: while this process is busy, no time of a peer passes.
        """
        await (self._handshakes if tls else self._connects).wait(namespace)

    async def first_address(
        self, host: str, namespace: str, connect: Callable[[str], Awaitable[Connected]]
    ) -> Connected:
        """Connect to one address of a host after the other, until one accepts.

        Raises:
            OSError: The host is unknown, or may not be contacted.
            Exception: What `connect` raised for the last address.
        """
        *others, last = self._hosts.allowed(host, await self._resolver.addresses(host, namespace))
        async with self._turns(host):
            for address in others:
                try:
                    async with asyncio.timeout(ADDRESS_SECONDS):
                        return await connect(address)
                except OSError:
                    continue
            try:
                return await connect(last)
            except OSError:
                self._resolver.forget(host)
                raise

    def _turns(self, host: str) -> asyncio.Semaphore:
        """Limit simultaneous attempts per host: of hundreds of TLS handshakes at once, a broker ends none in time."""
        turns = self._connecting.get(host)
        if turns is None:
            turns = self._connecting[host] = asyncio.Semaphore(bounds.CONNECTS_PER_HOST)
        return turns

    def http(self, endpoint: Endpoint) -> httpcore.AsyncConnectionPool:
        """Return the HTTP connections of an endpoint, which endpoints with equal credentials share."""
        pool = self._pools.get(_credentials(endpoint))
        if pool is None:
            tls = endpoint.management.startswith("https:")
            context = endpoint.ssl_context("http") if tls else unused_context()
            pool = self._pools[_credentials(endpoint)] = _Pool(
                httpcore.AsyncConnectionPool(
                    ssl_context=context,
                    max_connections=HTTP_CONNECTIONS,
                    keepalive_expiry=KEEPALIVE_SECONDS,
                    network_backend=_Backend(self, endpoint.namespace, context if tls else None),
                )
            )
        pool.users += 1
        return pool.connections

    async def release_http(self, endpoint: Endpoint) -> None:
        """Close the HTTP connections of an endpoint, unless another endpoint uses them."""
        pool = self._pools[_credentials(endpoint)]
        pool.users -= 1
        if not pool.users:
            del self._pools[_credentials(endpoint)]
            await pool.connections.aclose()


@dataclass(slots=True)
class _Pool:
    connections: httpcore.AsyncConnectionPool
    users: int = 0


class _Backend(httpcore.AsyncNetworkBackend):
    """Connects for the HTTP library by way of our resolver, and paces what it parses."""

    def __init__(self, network: Network, namespace: str, tls: ssl.SSLContext | None) -> None:
        self._network = network
        self._namespace = namespace
        self._pace = network.http_pace(namespace)
        self._tls = tls

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect, with TLS where it is used. The options of the last two arguments are not used."""
        try:
            async with asyncio.timeout(timeout):
                stream = await self._network.first_address(
                    host,
                    self._namespace,
                    lambda address: HttpStream.open(address, port, self._tls, host),
                )
        except OSError as error:
            raise httpcore.ConnectError from error
        return PacedStream(stream, self._pace)


def _credentials(endpoint: Endpoint) -> tuple[str, ...]:
    login = (endpoint.management, endpoint.management_username, endpoint.management_password)
    return (*login, endpoint.ca, endpoint.certificate, endpoint.key)
