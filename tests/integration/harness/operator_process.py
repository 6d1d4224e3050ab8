"""The operator as a process of this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.cluster import ports
from tests.cluster.progress import until
from tests.integration.harness.eventually import TIMEOUT_SECONDS

ROOT: Final = Path(__file__).parents[3]
LOG_CHARACTERS: Final = 20_000
"""Number of log characters that a failed test shows."""


class OperatorProcess:
    """The operator as a process of its own, as in a pod; what it logs goes to a file."""

    def __init__(self, kubeconfig: Path, directory: Path, **settings: str) -> None:
        (self.port,) = ports.free(1)
        self.log = directory / "operator.log"
        self._environment = (
            os.environ
            | {
                "KUBECONFIG": str(kubeconfig),
                "PYTHONPATH": str(ROOT / "operator"),
                "TASKQUEUE_HTTP_PORT": str(self.port),
                # The brokers of the tests are on the loopback.
                "TASKQUEUE_BROKER_HOSTS": "*,127.0.0.0/8",
                # As in a pod, whose name outlives its container: after a kill it leads again at once.
                "TASKQUEUE_IDENTITY": f"operator-{self.port}",
                "PYTHONWARNINGS": "error::ResourceWarning",
            }
            | settings
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it watches, or is a standby."""
        self.launch()
        until(self.is_ready, f"the operator is ready; its log is {self.log}", seconds=TIMEOUT_SECONDS)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "taskqueue_operator.app"]
            self.process = subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, stderr=log)
        return self.process

    def is_ready(self) -> bool:
        """Whether the operator reports that it is ready."""
        return bool(self.readiness())

    def readiness(self) -> str:
        """Return the text of `/readyz`; empty while the operator is not ready."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2)
        except httpx.TransportError:
            return ""
        return answer.text.strip() if answer.is_success else ""

    def stop(self) -> int:
        """Terminate the process as the kubelet does; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(TIMEOUT_SECONDS)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(TIMEOUT_SECONDS)

    def writes(self) -> dict[str, float]:
        """Count its writes to Kubernetes and RabbitMQ, by kind."""
        lines = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=TIMEOUT_SECONDS).text.splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line.startswith("taskqueue_writes_total{"))
        return {name.split('"')[1]: float(value) for name, value in found}


@contextmanager
def started_operator(kubeconfig: Path, directory: Path) -> Iterator[OperatorProcess]:
    """Start an operator, and stop it at the end: it must end in good order."""
    operator = OperatorProcess(kubeconfig, directory)
    operator.start()
    yield operator
    assert operator.stop() == 0, operator.log.read_text()[-3000:]


@contextmanager
def attached_log(operator: OperatorProcess, item: pytest.Item) -> Iterator[None]:
    """Attach to the report of a test what the operator logs inside."""
    before = operator.log.stat().st_size
    yield
    with operator.log.open() as log:
        log.seek(before)
        item.add_report_section("call", "operator", log.read()[-LOG_CHARACTERS:])
