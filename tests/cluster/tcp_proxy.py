"""TCP proxies between clients and the nodes of a broker, like a Service of Kubernetes; a proxy can stall and cut."""

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


class TcpProxy:
    """Forwards a port of this machine's loopback to several targets, each new connection to one at random.

    A target that refuses is skipped, like a pod that is not ready; a silent target is not detected.
    """

    def __init__(self, loop: "ProxyLoop", port: int, targets: Sequence[Target]) -> None:
        self.port = port
        self._loop = loop
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
        """Forward all connections to one target (from 0); connections to other targets are reset."""
        self._loop.call(self._pin, self._targets[number])

    def unpin(self) -> None:
        """Forward new connections to any target again."""
        self._loop.call(self._pin, None)

    def stall(self) -> None:
        """Keep connections open and accept new ones, and forward nothing."""
        self._loop.call(self._flowing.clear)

    def flow(self) -> None:
        """Undo `stall`: what was sent meanwhile arrives now."""
        self._loop.call(self._flowing.set)

    def cut(self, *, after: int) -> None:
        """Reset each connection, open or new, when so many more bytes of answers have passed on it."""
        self._loop.call(setattr, self, "_cut", _Cut(after))

    def mend(self) -> None:
        """Undo `cut`."""
        self._loop.call(setattr, self, "_cut", None)

    async def listen(self) -> None:
        """Begin; called by the loop."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self._server = await asyncio.start_server(self._accept, sock=listener)

    async def close(self) -> None:
        """Accept no more connections, and close the open ones; called by the loop."""
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


class ProxyLoop:
    """The event loop and thread of all proxies of a broker."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies: list[TcpProxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for proxy in self._proxies:
            self._wait(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open_proxy(self, port: int, targets: Sequence[Target]) -> TcpProxy:
        """Open a proxy."""
        proxy = TcpProxy(self, port, targets)
        self._wait(proxy.listen())
        self._proxies.append(proxy)
        return proxy

    def call(self, act: Callable[..., object], *arguments: object) -> None:
        """Call a function in the loop, and wait for its end."""

        async def acted() -> None:
            act(*arguments)

        self._wait(acted())

    def _wait(self, act: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(30)


def _reset(end: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()
