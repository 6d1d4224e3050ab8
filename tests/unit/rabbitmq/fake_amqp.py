"""An AMQP server in memory: it answers each channel in order, with a delay per queue, and counts the probes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

import pytest
from pamqp import base, commands, frame
from pamqp.header import ProtocolHeader
from pamqp.heartbeat import Heartbeat

from taskqueue_operator.rabbitmq.access import Access
from taskqueue_operator.rabbitmq.network import Network
from taskqueue_operator.rabbitmq.probe_connection import ProbeConnection
from taskqueue_operator.rabbitmq.resolver import Resolver
from taskqueue_operator.rabbitmq.secret import parse_secret
from taskqueue_operator.resource.names import Key

PROMPT: Final = 0.0001
NEVER: Final = float("inf")
READY: Final = 7
ENDPOINT: Final = parse_secret(Key("media", "rabbitmq"), {"uri": b"amqp://app:secret@broker"}, None)


class FakeAmqp:
    """Answers a passive declare after `delay(queue)` seconds; other probes of the channel wait meanwhile."""

    def __init__(self, delay: Callable[[str], float] = lambda _: PROMPT) -> None:
        self.delay = delay
        self.refusals: dict[str, tuple[int, str]] = {}
        self.tune = commands.Connection.Tune(2047, 131072, 60)
        self.close: commands.Connection.Close | None = None
        self.down = False
        self.mute = False
        self.connects: list[float] = []
        self.probed: Counter[str] = Counter()
        self.refused = 0
        self.heartbeats = 0
        self.peers: list[_Peer] = []

    async def connect(self, *_: object, **__: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Stand in for `asyncio.open_connection`."""
        self.connects.append(asyncio.get_running_loop().time())
        if self.down:
            raise ConnectionRefusedError
        self.peers.append(_Peer(self))
        return self.peers[-1].reader, cast("asyncio.StreamWriter", self.peers[-1])

    def close_all(self) -> None:
        """Close all connections without a closing handshake."""
        for peer in self.peers:
            peer.abort()

    @property
    def channels(self) -> int:
        """The largest number of channels on one connection."""
        return max(len(peer.channels) for peer in self.peers)


class _Peer:
    """One connection; it is also the writer of the client."""

    def __init__(self, broker: FakeAmqp) -> None:
        self.broker = broker
        self.reader = asyncio.StreamReader()
        self.transport = self
        self.channels: dict[int, _Channel] = {}
        self.closed = False
        self._rest = b""

    def write(self, data: bytes) -> None:
        for number, method in self._methods(data):
            if self.closed or self.broker.mute:
                return
            self._on_method(number, method)

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.reader.feed_eof()
        for channel in self.channels.values():
            channel.task.cancel()

    def send(self, number: int, method: base.Frame) -> None:
        if not self.closed and not self.broker.mute:
            self.reader.feed_data(frame.marshal(method, number))

    def _methods(self, data: bytes) -> Iterator[tuple[int, base.Frame | str]]:
        data = self._rest + data
        while len(data) >= 8:
            size = 8 if data[:4] == b"AMQP" else int.from_bytes(data[3:7], "big") + 8
            if size > len(data):
                break
            if data[7:11] == b"\x00\x32\x00\x0a":
                yield int.from_bytes(data[1:3], "big"), data[14 : 14 + data[13]].decode()
            else:
                _, number, method = frame.unmarshal(data[:size])
                self.broker.heartbeats += isinstance(method, Heartbeat)
                yield number, commands.Connection.Open() if isinstance(method, ProtocolHeader) else method  # type: ignore[misc]  # a heartbeat is not a method, and is ignored
            data = data[size:]
        self._rest = data

    def _on_method(self, number: int, method: base.Frame | str) -> None:
        match method:
            case str():
                self.channels[number].probes.put_nowait(method)
            case commands.Channel.Open():
                self.channels[number] = _Channel(self, number)
                self.send(number, commands.Channel.OpenOk())
            case commands.Connection.Close():
                self.send(0, commands.Connection.CloseOk())
            case _:
                self._on_handshake(method)

    def _on_handshake(self, method: base.Frame) -> None:
        """Answer the methods of the handshake; the protocol header arrives as an Open without a vhost."""
        match method:
            case commands.Connection.StartOk(response="\0app\0secret"):
                self.send(0, self.broker.tune)
            case commands.Connection.StartOk():
                self.send(0, commands.Connection.Close(403, "ACCESS_REFUSED", 0, 0))
            case commands.Connection.Open() if not self.reader.at_eof() and not hasattr(self, "started"):
                self.started = True
                self.send(0, commands.Connection.Start(0, 9, {}, "PLAIN", "en_US"))
            case commands.Connection.Open():
                self.send(0, self.broker.close or commands.Connection.OpenOk())
            case _:
                pass  # the rest of the handshake, and heartbeats


class _Channel:
    """Answers one probe after the other; a refusal closes the channel and drops the other probes."""

    def __init__(self, peer: _Peer, number: int) -> None:
        self.peer = peer
        self.number = number
        self.probes: asyncio.Queue[str] = asyncio.Queue()
        self.task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        broker = self.peer.broker
        while True:
            queue = await self.probes.get()
            broker.probed[queue] += 1
            seconds = broker.delay(queue)
            await (asyncio.Event().wait() if seconds == NEVER else asyncio.sleep(seconds))
            if queue in broker.refusals:
                broker.refused += 1
                self.peer.send(self.number, commands.Channel.Close(*broker.refusals[queue], 50, 10))
                return
            self.peer.send(self.number, commands.Queue.DeclareOk(queue, READY, 0))


def network() -> Network:
    """A network that knows every host, without a DNS."""

    async def lookup(_: str) -> Sequence[str]:
        return ("192.0.2.1",)

    return Network(Resolver(lookup))


def access() -> Access:
    """An access to the server; its login has not been tried yet."""
    return Access(ENDPOINT, network())


async def connected(broker: FakeAmqp, monkeypatch: pytest.MonkeyPatch) -> ProbeConnection:
    """Open a connection to the server."""
    monkeypatch.setattr(asyncio, "open_connection", broker.connect)
    return await ProbeConnection.open(network(), ENDPOINT, "a name")
