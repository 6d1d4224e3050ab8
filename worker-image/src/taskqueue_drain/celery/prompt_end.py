"""The pool prefork of a worker that runs nothing ends without the pauses that are for one that does."""

import os

from billiard.pool import DEATH
from celery.concurrency.asynpool import AsynPool, Worker
from kombu.asynchronous import set_event_loop


class PromptWorker(Worker):  # type: ignore[misc]  # Celery has no types
    """A process of the pool."""

    def _do_exit(self, pid: int, exitcode: int | None, exc: Exception | None = None) -> None:
        """End. Billiard's own method first waits a second for the pool, which reads nothing more while it ends."""
        if exitcode is not None or exc is not None:  # recycled or failed: the pool goes on
            super()._do_exit(pid, exitcode, exc)
        try:
            if self.on_exit is not None:
                self.on_exit(pid, os.EX_OK)
            self.outq.put((DEATH, (pid, os.EX_OK)))
        finally:
            os._exit(os.EX_OK)


def make_processes_prompt() -> None:
    """Let each process end as soon as it is told to and has handed over its results. The pool has not started."""
    AsynPool.Worker = PromptWorker


def end_without_timers() -> None:
    """Let the pool look after no timers, every half second, until its processes have ended. Acknowledgements follow."""
    set_event_loop(None)
