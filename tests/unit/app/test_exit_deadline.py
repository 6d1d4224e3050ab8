"""A process that does not end by itself after a signal says why, and exits."""

import asyncio
import faulthandler
import os
import signal
import subprocess
import sys

from structlog.testing import capture_logs

from taskqueue_operator.app.exit_deadline import exit_in_time, stop_on_signals

_PROCESS = """
import asyncio, os, signal, time
from taskqueue_operator.app.exit_deadline import exit_in_time, stop_on_signals

async def main():
    stop = asyncio.Event()
    stop_on_signals(stop)
    deadline = asyncio.create_task(exit_in_time(stop, seconds=0.2))
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.wait()
    await asyncio.sleep(0.01)
    time.sleep(3600)  # not even the event loop runs

asyncio.run(main())
"""


async def test_a_signal_sets_the_event() -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    os.kill(os.getpid(), signal.SIGTERM)
    await stop.wait()


def test_a_process_that_is_held_after_a_signal_shows_its_stacks_and_exits() -> None:
    command, paths = [sys.executable, "-c", _PROCESS], os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, env=paths, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr
    assert "in main" in ended.stderr


async def test_the_tasks_that_delay_the_end_are_named() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    stop = asyncio.Event()
    stop.set()
    waiting = asyncio.create_task(waits_for_ever(), name="sweep")
    with capture_logs() as logs:
        await exit_in_time(stop, seconds=3600, delayed=0)
    faulthandler.cancel_dump_traceback_later()
    waiting.cancel()
    (line,) = logs
    assert line["event"] == "end delayed"
    assert any(task.startswith("sweep in ") and "wait" in task for task in line["tasks"])
