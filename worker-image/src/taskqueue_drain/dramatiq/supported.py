"""The brokers and commands of dramatiq that can be drained."""

import sys
from collections.abc import Sequence
from multiprocessing import current_process, parent_process
from typing import Any, Final

from dramatiq import __version__
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from taskqueue_drain.environment import CannotJoinError

OLDEST: Final = (2, 2)
FIRST_UNKNOWN: Final = (3,)


def check_dramatiq(broker: Any) -> None:  # noqa: ANN401 - dramatiq has no types
    """Check what runs.

    Raises:
        CannotJoinError: It cannot be drained.
    """
    if not OLDEST <= tuple(int(part) for part in __version__.split(".")[:2] if part.isdecimal()) < FIRST_UNKNOWN:
        raise CannotJoinError(f"dramatiq {__version__} is not supported: install dramatiq 2.2 or a later 2.x")
    kind = type(broker)
    is_known = isinstance(broker, RabbitmqBroker) and kind.consume is RabbitmqBroker.consume
    if not is_known or kind.consumer_class is not RabbitmqBroker.consumer_class:
        raise CannotJoinError(f"the broker {kind.__name__} consumes in its own way: use dramatiq's RabbitmqBroker")
    if "gevent.monkey" in sys.modules and sys.modules["gevent.monkey"].is_module_patched("threading"):
        raise CannotJoinError("dramatiq-gevent cannot be drained: start dramatiq")
    if (processes := _processes()) != 1:
        raise CannotJoinError(
            f"dramatiq runs {processes or 'an unknown number of'} processes in this pod, and the operator knows one: "
            "start dramatiq with --processes 1"
        )


def _processes() -> int | None:
    """How many worker processes dramatiq has started; None if this process is one of another command."""
    if parent_process() is None:
        return 1  # the application runs the worker in its own process
    arguments: Sequence[Any] = getattr(current_process(), "_args", ())  # those of `dramatiq.cli.worker_process`
    return getattr(arguments[0], "processes", None) if arguments else None
