"""The process ends in time after a signal; what delays its end is named in the log."""

import asyncio
import faulthandler
import signal
from typing import Final

import structlog

EXIT_SECONDS: Final = 20.0
"""From the signal to the end of the process. The kubelet kills a pod after 30 s, and no log then says why."""
DELAYED_SECONDS: Final = 5.0
"""From the signal to the log line that names the tasks that delay the end."""

_log = structlog.get_logger("main")


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT, whatever else has been installed for them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def exit_in_time(stop: asyncio.Event, seconds: float = EXIT_SECONDS, delayed: float = DELAYED_SECONDS) -> None:
    """Wait for `stop`. A process that has not ended so many seconds later shows its stacks and exits with code 1.

    A thread of the interpreter does so: it needs neither the event loop nor the interpreter lock.
    """
    await stop.wait()
    faulthandler.dump_traceback_later(seconds, exit=True)
    await asyncio.sleep(delayed)
    _log.warning("end delayed", tasks=sorted(map(_described, asyncio.all_tasks() - {asyncio.current_task()})))


def _described(task: "asyncio.Task[object]") -> str:
    """Return the name of a task and the innermost function in which it waits."""
    waits: object = task.get_coro()
    where = ""
    while (frame := getattr(waits, "cr_frame", None)) is not None:
        where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
        waits = getattr(waits, "cr_await", None)
    return f"{task.get_name()} in {where}"
