"""What stands between clients and the nodes of a broker, as a Service of Kubernetes does; it can misbehave."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from tests.cluster.network import Host

_RESET = struct.pack("ii", 1, 0)


class Target(NamedTuple):
    """A port of a host's loopback."""

    host: Host
    port: int


class _Cut(NamedTuple):
    """Connections are reset when so many bytes of answers have passed."""

    after: int


class Front:
    """Leads a port of this machine's loopback to one of several targets, each new connection to any.

    A target that refuses is passed over, as a pod that is not ready is; one that is silent goes unnoticed.
    """

    def __init__(self, desk: "Desk", port: int, targets: Sequence[Target]) -> None:
        self.port = port
        self._desk = desk
        self._targets = targets
        self._pinned: Target | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut: _Cut | None = None
        self.cuts = 0
        """How many connections `cut` has reset."""
        self._connections: dict[asyncio.Task[None], Target] = {}
        self._server: asyncio.Server

    def pin(self, number: int) -> None:
        """Lead everybody to one target (from 0); connections that lead elsewhere are reset."""
        self._desk.call(self._pin, self._targets[number])

    def unpin(self) -> None:
        """Lead new connections to any target again."""
        self._desk.call(self._pin, None)

    def stall(self) -> None:
        """Keep connections open and take new ones, and let nothing through."""
        self._desk.call(self._flowing.clear)

    def flow(self) -> None:
        """Undo `stall`: what was sent meanwhile arrives now."""
        self._desk.call(self._flowing.set)

    def cut(self, *, after: int) -> None:
        """Reset each connection, open or new, when so many more bytes of answers have passed on it."""
        self._desk.call(setattr, self, "_cut", _Cut(after))

    def mend(self) -> None:
        """Undo `cut`."""
        self._desk.call(setattr, self, "_cut", None)

    async def listen(self) -> None:
        """Begin; called by the desk."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._server = await asyncio.start_server(self._accept, sock=listener)

    async def close(self) -> None:
        """Take no more connections, and end those there are; called by the desk."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _pin(self, target: Target | None) -> None:
        self._pinned = target
        for connection, led_to in self._connections.items():
            if target is not None and led_to is not target:
                connection.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        far: asyncio.StreamWriter | None = None
        try:
            target, far_reader, far = await self._connect()
            self._connections[task] = target
            questions = asyncio.create_task(self._questions(reader, far))
            try:
                await self._answers(far_reader, writer)
            finally:
                questions.cancel()
                await asyncio.gather(questions, return_exceptions=True)
        except OSError:
            pass  # an end that vanished is an end
        except asyncio.CancelledError:
            _reset(writer)
        finally:
            self._connections.pop(task, None)
            for end in (writer, far):
                if end is not None:
                    end.close()

    async def _connect(self) -> tuple[Target, asyncio.StreamReader, asyncio.StreamWriter]:
        targets = [self._pinned] if self._pinned else random.sample(self._targets, len(self._targets))
        for target in targets:
            near = target.host.socket()
            near.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(near, ("127.0.0.1", target.port))
            except OSError:
                near.close()
            else:
                return target, *await asyncio.open_connection(sock=near)
        raise ConnectionRefusedError

    async def _questions(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        cut, passed = self._cut, 0
        while data := await source.read(1 << 16):
            await self._flowing.wait()
            if self._cut is not cut:
                cut, passed = self._cut, 0
            passed += len(data)
            if cut and passed >= cut.after:
                sink.write(data[: len(data) - (passed - cut.after)])
                await sink.drain()
                self.cuts += 1
                _reset(sink)
                break
            sink.write(data)
            await sink.drain()


class Desk:
    """The thread in which all fronts of a broker work."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fronts", daemon=True)
        self._fronts: list[Front] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for front in self._fronts:
            self._wait(front.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def front(self, port: int, targets: Sequence[Target]) -> Front:
        """Open one."""
        front = Front(self, port, targets)
        self._wait(front.listen())
        self._fronts.append(front)
        return front

    def call(self, act: Callable[..., object], *arguments: object) -> None:
        """Have it done there, and wait."""

        async def acted() -> None:
            act(*arguments)

        self._wait(acted())

    def _wait(self, act: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(30)


def _reset(end: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()
