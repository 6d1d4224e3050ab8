"""The main process of taskiq, which tells its worker of SIGTERM at once, and ends with it."""

import signal
from types import FrameType
from typing import Any

from taskiq.cli.worker import process_manager

from taskqueue_drain.pause import Pause


class PromptProcessManager(process_manager.ProcessManager):  # type: ignore[misc]  # taskiq is installed for its tests only
    """Taskiq's own looks once a second at what is to be done."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - taskiq's
        super().__init__(*arguments, **options)
        schedule: Any = signal.getsignal(signal.SIGTERM)
        pause = process_manager.sleep = Pause()

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            schedule(number, frame)  # raises in a worker that has no handler of its own yet
            pause.end()

        signal.signal(signal.SIGTERM, on_sigterm)
