"""Applications as real processes, with the adapter of their runtime."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from typing_extensions import override

from tests.cluster import cache
from tests.integration.worker.eventually import eventually

HERE: Final = Path(__file__).parent
SOURCE: Final = Path(__file__).parents[3] / "worker-image/src"


@dataclass(frozen=True)
class Runtime:
    """A runtime under test.

    Attributes:
        name: Its name.
        command: How its worker starts, after the Python interpreter.
        requirements: Name of its pinned requirements; None if the packages of the tests suffice.
        declares: Whether it declares its queues, as dramatiq does.
    """

    name: str
    command: tuple[str, ...]
    requirements: str | None = None
    declares: bool = False

    @override
    def __str__(self) -> str:
        return self.requirements or self.name

    def python_path(self) -> str:
        """Where its packages, the adapter and the application are."""
        installed = [] if self.requirements is None else [packages(self.requirements)]
        return os.pathsep.join(map(str, (*installed, SOURCE, HERE)))


def packages(name: str) -> Path:
    requirements = HERE / f"{name}.txt"
    return cache.entry(
        f"{name}-{cache.digest([requirements.read_bytes()])}", lambda place: _install(requirements, place)
    )


def _install(requirements: Path, place: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(place)]
    subprocess.run([*command, "--require-hashes", "--requirement", str(requirements)], check=True)


class RunningApplication:
    """The process of an application, its log, and the ledger that its tasks write.

    Attributes:
        port: Its HTTP port.
    """

    def __init__(self, directory: Path, name: str, runtime: Runtime, variables: Mapping[str, str]) -> None:
        self._output = directory / f"{name}.log"
        self._ledger = directory / "ledger"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": runtime.python_path(),
            "PYTHONUNBUFFERED": "1",
            "LEDGER": str(self._ledger),
            "TASKQUEUE_HTTP_PORT": str(self.port),
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *runtime.command],
                env=environment | dict(variables),
                cwd=HERE,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def ledger(self) -> list[str]:
        return self._ledger.read_text().splitlines() if self._ledger.exists() else []

    async def wait_for_ledger(self, *entries: str) -> None:
        await eventually(f"ledger: {entries}", lambda: set(entries) <= set(self.ledger))

    async def wait_for_log(self, text: str) -> None:
        await eventually(f"log: {text}", lambda: text in self.output)

    def probe(self, path: str) -> int:
        """Return the status code of a request to the worker's HTTP port."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10).status_code

    @property
    def is_listening(self) -> bool:
        """Whether the HTTP port is open."""
        with socket.socket() as client:
            is_open = client.connect_ex(("127.0.0.1", self.port)) == 0
            # A socket whose own port is the one that it looks for is connected with itself.
            return is_open and client.getsockname() != client.getpeername()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End all processes of the application."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def exit_code(self) -> int:
        """Wait for the end of the process and return its exit code."""
        await eventually("the end of the worker", lambda: self.has_ended)
        return self._process.wait()
