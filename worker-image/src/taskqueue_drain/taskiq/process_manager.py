"""The main process of taskiq, which tells its worker of SIGTERM at once."""

import signal
from types import FrameType
from typing import Any

from taskiq.cli.worker.process_manager import ProcessManager


class PromptProcessManager(ProcessManager):  # type: ignore[misc]  # taskiq is installed for its tests only
    """Taskiq's own looks once a second at what is to be done."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - taskiq's
        super().__init__(*arguments, **options)
        schedule: Any = signal.getsignal(signal.SIGTERM)

        def on_sigterm(number: int, frame: FrameType | None) -> None:
            schedule(number, frame)  # raises in a worker that has no handler of its own yet
            self._shutdown_workers()

        signal.signal(signal.SIGTERM, on_sigterm)
