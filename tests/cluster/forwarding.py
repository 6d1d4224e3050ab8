"""Forwards a port of this machine's loopback to a port that this machine cannot address."""

import asyncio
import ctypes
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from tests.cluster import ports

_CLONE_NEWNET = 0x40000000


class PortForward:
    """kubectl port-forward that is started again when it dies, on the same local port."""

    def __init__(self, kubectl: Sequence[str], target: str, port: int) -> None:
        self._local = ports.free(1)[0]
        self._argv = [*kubectl, "port-forward", target, f"{self._local}:{port}"]
        self._leaving = threading.Event()
        self._ready = threading.Event()
        self._said = ""
        self._child: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._keep, name="port-forward", daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        if not self._ready.wait(120):
            self.__exit__(None, None, None)
            raise TimeoutError(f"port-forward to {self._argv[-2]}: {self._said}")
        return self._local

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._child:
            self._child.kill()
        self._thread.join()

    def _keep(self) -> None:
        while not self._leaving.is_set():
            with subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # a Ctrl-C must reach only this process, which then cleans up
            ) as self._child:
                assert self._child.stdout is not None
                for line in self._child.stdout:
                    self._said = line.strip()
                    if re.match("Forwarding from", line):
                        self._ready.set()
                    if self._leaving.is_set() or "lost connection" in line:
                        break
                self._child.kill()
            self._leaving.wait(0.2)


class _Relay:
    def __init__(self, port: int) -> None:
        self._port = port

    async def serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(self._join, sock=listener)
        await server.serve_forever()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pour(reader, far_writer), _pour(far_reader, writer))


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass  # an end that vanished is an end
    finally:
        sink.close()


def _forward(port: int, namespace: str) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    # A socket stays in the namespace that made it: this one listens outside, all later ones connect inside.
    with open(namespace) as inside:  # noqa: PTH123 - a descriptor of a namespace, not a file
        if ctypes.CDLL(None, use_errno=True).setns(inside.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
    asyncio.run(_Relay(port).serve(listener))


def command(port: int, pid: int) -> list[str]:
    """Leads `port` of this loopback to the same port of the loopback that process `pid` sees."""
    return [sys.executable, "-m", "tests.cluster.forwarding", str(port), f"/proc/{pid}/ns/net"]


if __name__ == "__main__":
    _forward(int(sys.argv[1]), sys.argv[2])
