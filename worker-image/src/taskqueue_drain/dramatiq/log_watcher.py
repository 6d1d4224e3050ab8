"""The thread of dramatiq's main process that writes the log. dramatiq's own ends up to a second after the worker."""

import threading
from collections.abc import Sequence
from inspect import signature
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

from dramatiq import __version__, cli

from taskqueue_drain.protocol_log import log

PARAMETERS: Final = ("log_filename", "pipes", "stop")


class LogEnd(threading.Event):
    """The event that ends the thread. Of dramatiq's own, the thread learns with the next line or after a second."""

    def __init__(self) -> None:
        super().__init__()
        self.pipe, self._writer = Pipe(duplex=False)

    def set(self) -> None:  # type: ignore[explicit-override]  # typing has no `override` before Python 3.12
        """Let the thread end, after what has arrived."""
        super().set()
        self._writer.send_bytes(b"")  # an empty text for the log


def end_promptly() -> None:
    """Let the main process end with its worker, if it waits as it does in the versions that are known."""
    watch_logs: Any = vars(cli).get("watch_logs")
    is_known = callable(watch_logs) and tuple(signature(watch_logs).parameters) == PARAMETERS
    if not is_known or vars(cli).get("Event") is not threading.Event:
        log.warning("dramatiq %s writes its log in another way: the worker may end a second later", __version__)
        return

    def watch_until(log_filename: str | None, pipes: Sequence[Connection], stop: LogEnd) -> None:
        watch_logs(log_filename, [*pipes, stop.pipe], stop)

    cli.Event = LogEnd
    cli.watch_logs = watch_until
