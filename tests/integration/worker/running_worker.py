"""Workers as real processes."""

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.integration.worker.eventually import TIMEOUT_SECONDS, eventually

HERE = Path(__file__).parent
SOURCE = Path(__file__).parents[3] / "worker-image/src"
COMMAND = shlex.split(os.environ.get("WORKER_COMMAND", "")) or [sys.executable, "-m", "taskqueue_worker"]


def environment(directory: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a worker, with no inherited variable that the worker reads."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{SOURCE}{os.pathsep}{HERE}",
        "PYTHONUNBUFFERED": "1",
        "LEDGER": str(directory / "ledger"),
        "TASKQUEUE_MODULES": "ledger_tasks",
        "TASKQUEUE_HTTP_PORT": "0",
        "TASKQUEUE_NAME": "tests/worker",
    } | variables


class RunningWorker:
    """The process of a worker, its log, and the ledger that its tasks write.

    Attributes:
        taskqueue: Name of the TaskQueue, which is also the name of the worker's connection.
    """

    def __init__(self, directory: Path, name: str, **variables: str) -> None:
        self._output = directory / f"{name}.log"
        self._ledger = directory / "ledger"
        worker_environment = environment(directory, **variables)
        self.taskqueue = worker_environment["TASKQUEUE_NAME"]
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                COMMAND,
                env=worker_environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def ledger(self) -> list[str]:
        return self._ledger.read_text().splitlines() if self._ledger.exists() else []

    @property
    def started(self) -> list[str]:
        """The entries of the ledger about started tasks."""
        return [entry for entry in self.ledger if entry.startswith("started")]

    def lines(self, **fields: object) -> list[dict[str, Any]]:
        """Return the log lines with these fields."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if fields.items() <= line.items()]

    async def wait_for_log(self, *, times: int = 1, **fields: object) -> list[dict[str, Any]]:
        """Wait until so many log lines have these fields, and return the lines."""
        await eventually(f"{times} x {fields}", lambda: len(self.lines(**fields)) >= times)
        return self.lines(**fields)

    async def wait_for_ledger(self, entry: str) -> None:
        await eventually(f"ledger: {entry}", lambda: entry in self.ledger)

    def get(self, path: str) -> tuple[int, str]:
        """Return status code and body of a request to the worker's HTTP port."""
        (listening, *_) = self.lines(event="listening")
        response = httpx.get(f"http://127.0.0.1:{listening['port']}{path}", timeout=60)
        return response.status_code, response.text

    def metric(self, series: str) -> float:
        """Return the value of the series that is written exactly so."""
        lines = self.get("/metrics")[1].splitlines()
        return float(next(line for line in lines if line.startswith(series + " ")).split()[-1])

    @property
    def is_ready(self) -> bool:
        return bool(self.lines(event="listening")) and self.get("/readyz")[0] == 200

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    async def exit_code(self) -> int:
        """Wait for the end of the process and return its exit code."""
        return await asyncio.to_thread(self._process.wait, TIMEOUT_SECONDS)
