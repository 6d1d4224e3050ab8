"""Played brokers: a management API and an AMQP server for any number of vhosts, with or without TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from tests.bench.played.amqp import EXCHANGE, QUEUE, AmqpConnection, OnCommand

Item = Mapping[str, Any]


@dataclass
class Vhost:
    """The objects of a vhost, as the management API lists them.

    Attributes:
        listings: The lists by name; replace a list to change it.
        reads: How often each list was read.
        connections: The AMQP connections that receive reports.
        added: The objects of TaskQueues.
        rendered: By list and columns, how many items were rendered last, and their text.
    """

    listings: dict[str, list[Item]] = field(
        default_factory=lambda: {name: [] for name in ("exchanges", "queues", "bindings", "policies")}
    )
    reads: dict[str, int] = field(default_factory=dict)
    connections: list[AmqpConnection] = field(default_factory=list)
    added: set[Exchange | Queue | Binding] = field(default_factory=set)
    rendered: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)

    def add(self, topology: Topology) -> None:
        """Add the objects of a TaskQueue; those that it shares with others are added once."""
        exchanges = [item for item in topology.exchanges.values() if item not in self.added]
        queues = [item for item in topology.queues.values() if item not in self.added]
        bindings = [item for item in topology.bindings if item not in self.added]
        self.added.update(exchanges, queues, bindings)
        self.listings["exchanges"] += [
            {"name": item.name, "type": item.type, "durable": True, "auto_delete": False, "arguments": item.arguments}
            for item in exchanges
        ]
        self.listings["queues"] += [queue(item.name, item.arguments) for item in queues]
        self.listings["bindings"] += [
            _binding(item.source, item.destination, item.routing_key, to_queue=item.to_queue) for item in bindings
        ]

    def add_all(self, name: str, items: Iterable[Item]) -> None:
        """Add items to a list."""
        self.listings[name] += items

    def render(self, name: str, columns: str) -> bytes:
        """Return a list with these columns."""
        items = self._listing(name)
        size, text = self.rendered.get((name, columns), (-1, b""))
        if size != len(items):
            text = orjson.dumps([_part(item, columns.split(",")) for item in items])
            self.rendered[name, columns] = len(items), text
        return text

    def _listing(self, name: str) -> list[Item]:
        if name != "bindings":
            return self.listings[name]
        bound = (key for connection in self.connections for key in connection.bound)
        return self.listings[name] + [_binding(EXCHANGE, QUEUE, key, to_queue=True) for key in bound]


def _part(item: Item, columns: Sequence[str]) -> Item:
    return {column: item[column] for column in columns if column in item}


def _binding(source: str, destination: str, routing_key: str, *, to_queue: bool) -> Item:
    return {
        "source": source,
        "destination": destination,
        "destination_type": "queue" if to_queue else "exchange",
        "routing_key": routing_key,
        "arguments": {},
    }


def queue(name: str, arguments: Mapping[str, Any]) -> Item:
    """Return a queue that is empty and running."""
    return {
        "name": name,
        "type": arguments.get("x-queue-type", "classic"),
        "durable": True,
        "auto_delete": False,
        "exclusive": False,
        "arguments": dict(arguments),
        "state": "running",
        "messages": 0,
        "messages_ready": 0,
        "messages_unacknowledged": 0,
        "policy": None,
        "effective_policy_definition": {},
    }


class PlayedBroker:
    """Serves vhosts. All loopback addresses reach it, so it can stand for hundreds of brokers."""

    def __init__(self) -> None:
        self.vhosts: dict[str, Vhost] = {"/": Vhost()}
        self.on_command: OnCommand = lambda _address, _command: None
        self.amqp_port = 0
        self.management_port = 0
        self._connections: set[AmqpConnection] = set()
        self._stack = AsyncExitStack()

    def disconnect_all(self) -> None:
        """Close all AMQP connections, without a closing handshake."""
        for connection in list(self._connections):
            connection.abort()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on the ports of the last time, or on free ones."""
        amqp = await asyncio.start_server(self._serve, "0.0.0.0", self.amqp_port, ssl=tls, backlog=1024)  # noqa: S104  all loopback addresses
        self.amqp_port = amqp.sockets[0].getsockname()[1]
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "0.0.0.0", self.management_port, ssl_context=tls, backlog=1024)  # noqa: S104  likewise
        await site.start()
        self.management_port = runner.addresses[0][1]
        self._stack.push_async_callback(runner.cleanup)
        self._stack.callback(amqp.close)

    async def stop(self) -> None:
        """Close the ports and all connections."""
        await self._stack.aclose()
        self.disconnect_all()

    def deliver(self, vhost: str, routing_key: str, report: bytes, reply_to: str) -> None:
        """Deliver a report to the operator."""
        for connection in self.vhosts[vhost].connections:
            connection.deliver(routing_key, report, reply_to)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = AmqpConnection(reader, writer, self.on_command)
        self._connections.add(connection)
        with suppress(OSError, EOFError, asyncio.CancelledError):
            vhost = self.vhosts.setdefault(await connection.open(), Vhost())
            vhost.connections.append(connection)
            try:
                await connection.serve()
            finally:
                vhost.connections.remove(connection)
        self._connections.discard(connection)
        connection.abort()

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/overview", self._overview)
        app.router.add_get("/api/whoami", self._whoami)
        app.router.add_get("/api/health/checks/alarms", self._alarms)
        app.router.add_get("/api/{listing}/{vhost}", self._list)
        app.router.add_route("*", "/api/{rest:.*}", self._accept)
        return app

    async def _overview(self, _: web.Request) -> web.Response:
        return web.json_response({"rabbitmq_version": "4.3.6"})

    async def _whoami(self, _: web.Request) -> web.Response:
        return web.json_response({"name": "guest", "tags": ["management"]})

    async def _alarms(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _list(self, request: web.Request) -> web.Response:
        vhost = self.vhosts.setdefault(unquote(request.match_info["vhost"]), Vhost())
        name = request.match_info["listing"]
        if name not in vhost.listings:
            return web.json_response([])
        vhost.reads[name] = vhost.reads.get(name, 0) + 1
        body = vhost.render(name, request.query.get("columns", ""))
        return web.Response(body=body, content_type="application/json")

    async def _accept(self, _: web.Request) -> web.Response:
        return web.Response(status=204)


@asynccontextmanager
async def played_broker(tls: ssl.SSLContext | None = None) -> AsyncIterator[PlayedBroker]:
    """Serve while the context lasts."""
    broker = PlayedBroker()
    await broker.start(tls)
    try:
        yield broker
    finally:
        await broker.stop()
