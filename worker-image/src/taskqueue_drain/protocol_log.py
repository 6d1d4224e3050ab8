"""What an adapter logs, by the logging of the application."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from .protocol import Drain

log = logging.getLogger("taskqueue_drain")

_Arguments = ParamSpec("_Arguments")


class ProtocolLog:
    """Logs what happens (`taskqueue_drain.Observer`)."""

    def draining(self, drain: Drain) -> None:
        """See `Observer`."""
        log.info("draining for %s, epoch %d, seq %d", drain.installation, drain.epoch, drain.seq)

    def resumed(self, event: str) -> None:
        """See `Observer`."""
        log.info("consuming again: %s", event)

    def handled(self, command: str, outcome: str, reason: str | None = None) -> None:
        """See `Observer`."""
        if reason is not None:
            log.warning("command %s %s: %s", command, outcome, reason)

    def reported(self) -> None:
        """See `Observer`."""

    def disconnected(self, reason: str) -> None:
        """See `Observer`."""
        log.warning("no control channel, the worker cannot be drained: %s", reason)


def contained(method: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """Log what the method raises: nothing in an adapter may end the application's worker."""

    @wraps(method)
    def call(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("%s: %r", method.__name__, error)

    return call
