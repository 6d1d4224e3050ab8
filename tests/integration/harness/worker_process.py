"""The process of a worker, whatever its runtime is."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from tests.integration.worker.eventually import eventually


class WorkerProcess:
    """The process of a worker, its log, and the ledger that its tasks write.

    Attributes:
        port: Its HTTP port.
        environment: Its environment.
    """

    def __init__(
        self, directory: Path, name: str, command: Sequence[str], variables: Mapping[str, str], *, folder: Path
    ) -> None:
        """Start it in a folder; log and ledger are in `directory`."""
        self._output = directory / f"{name}.log"
        self._ledger = directory / "ledger"
        self.port = _free_port()
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "LEDGER": str(self._ledger),
            "TASKQUEUE_HTTP_PORT": str(self.port),
            **variables,
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=folder,
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

    def probe(self, path: str, host: str = "127.0.0.1") -> int:
        """Return the status code of a request to the HTTP port."""
        return httpx.get(f"http://{host}:{self.port}{path}", timeout=10).status_code

    def page(self, path: str) -> str:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10).raise_for_status().text

    @property
    def is_listening(self) -> bool:
        """Whether the HTTP port is open."""
        with socket.socket() as client:
            is_open = client.connect_ex(("127.0.0.1", self.port)) == 0
            # A socket whose own port is the one that it looks for is connected with itself.
            return is_open and client.getsockname() != client.getpeername()

    @property
    def is_ready(self) -> bool:
        try:
            return self.probe("/readyz") == 200
        except httpx.TransportError:
            return False

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, and not to those that it has started."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and those that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    async def exit_code(self) -> int:
        """Wait for the end of the process and return its exit code."""
        await eventually("the end of the worker", lambda: self.has_ended)
        return self._process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
