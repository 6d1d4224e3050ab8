"""The worker as a process, with all its children."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

OUTPUT_BYTES: Final = 8 * 1024
"""What is kept of the end of the output."""
END_SECONDS: Final = 2
"""How long a worker may take to end when the kit has no more use for it."""
LAST_OUTPUT_SECONDS: Final = 1


class WorkerProcess:
    """Runs a command in a process group of its own, which ends with the context."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._output = bytearray()
        self._process: asyncio.subprocess.Process
        self._reading: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._signal_group(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await self._process.wait()
        finally:
            self._signal_group(signal.SIGKILL)
            await self._process.wait()
            await asyncio.wait({self._reading}, timeout=LAST_OUTPUT_SECONDS)
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    @property
    def output(self) -> str:
        """The end of what the worker has written."""
        return self._output.decode(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """The exit code; negative if a signal has ended the process; None while it runs."""
        return self._process.returncode

    def terminate(self) -> None:
        """Send SIGTERM, as the kubelet does: to the process of the command alone."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        while data := await self._process.stdout.read(OUTPUT_BYTES):
            self._output += data
            del self._output[:-OUTPUT_BYTES]

    def _signal_group(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
