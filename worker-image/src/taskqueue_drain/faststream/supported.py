"""The versions and consumers of FastStream that can be drained."""

from argparse import ArgumentError, ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Final

from taskqueue_drain.environment import CannotJoinError

SUPPORTED: Final = ((0, 6), (0, 7))


def check_faststream(version: str) -> None:
    """Check what runs.

    Raises:
        CannotJoinError: This version cannot be drained.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers not in SUPPORTED:
        raise CannotJoinError(f"FastStream {version} is not supported: install FastStream 0.6 or 0.7")


def starts_processes(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether the command line of FastStream starts further processes, which alone consume."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-w", "--workers", default=environment.get("FASTSTREAM_WORKERS", "1"))
    parser.add_argument("-r", "--reload", action="store_true")
    try:
        options, _ = parser.parse_known_args(arguments)
    except ArgumentError:  # FastStream tells of it
        return False
    return bool(options.reload) or options.workers != "1"


def consumer_obstacle(queue: str, *, no_ack: bool, prefetch: int) -> str | None:
    """Return why a consumer cannot be drained, and the way out; None if it can."""
    if no_ack:
        return f"queue {queue} is acknowledged before its tasks begin: use another AckPolicy than ACK_FIRST"
    if not prefetch:
        return (
            f"the prefetch of queue {queue} is unlimited, so every message begins at once: set one, for example with "
            "RabbitBroker(default_channel=Channel(prefetch_count=10))"
        )
    return None
