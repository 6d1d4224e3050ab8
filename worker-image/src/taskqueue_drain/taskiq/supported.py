"""The versions, brokers and process numbers of taskiq that can be drained."""

from multiprocessing import current_process
from typing import Any, Final

from taskqueue_drain.environment import CannotJoinError

SUPPORTED: Final = (0, 12)


def check_taskiq(version: str, broker: Any, *, workers: int) -> None:  # noqa: ANN401 - any broker of taskiq
    """Check what runs.

    Args:
        version: Version of taskiq.
        broker: The broker of the application.
        workers: Worker processes in the pod.

    Raises:
        CannotJoinError: It cannot be drained.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers != SUPPORTED:
        raise CannotJoinError(f"taskiq {version} is not supported: install taskiq 0.12")
    if getattr(broker, "read_channel", None) is None:
        raise CannotJoinError(f"the broker is {type(broker).__name__}: use AioPikaBroker of taskiq-aio-pika")
    if workers != 1:
        raise CannotJoinError(f"{workers} worker processes run in this pod: add --workers 1, and scale by pods")


def worker_processes() -> int:
    """Return how many worker processes the main process of taskiq starts; 1 outside of it."""
    arguments = getattr(current_process(), "_kwargs", {}).get("args")
    return int(getattr(arguments, "workers", 1))
