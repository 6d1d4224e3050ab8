"""Which handler runs a task. Pure."""

from datetime import datetime

from .delivery import Delivery
from .payload import PayloadError
from .tasks import Handler, Registry


class UnknownTypeError(Exception):
    """No handler is registered for the type of a message."""


class UnknownVersionError(Exception):
    """No handler is registered for the version of a payload."""


class ExpiredError(Exception):
    """A task expired before it could begin."""


def select(registry: Registry, delivery: Delivery, now: datetime) -> Handler:
    """Return the handler of a delivery.

    Raises:
        UnknownTypeError, UnknownVersionError: There is none.
        ExpiredError: It is too late.
        PayloadError: The properties of the message are not valid.
    """
    if delivery.problem:
        raise PayloadError(delivery.problem)
    if (expires_at := delivery.expires_at) is not None and expires_at <= now:
        raise ExpiredError(f"The task expired at {expires_at.isoformat()}.")
    handler = registry.get(delivery.type, delivery.version)
    if handler is None:
        raise _unknown(registry, delivery.type, delivery.version)
    return handler


def _unknown(registry: Registry, type: str, version: int) -> Exception:  # noqa: A002 - named as the AMQP property
    if versions := sorted(handler.version for handler in registry if handler.type == type):
        return UnknownVersionError(
            f"No handler for version {version} of task type {type!r}. This worker has handlers for versions: "
            f'{", ".join(map(str, versions))}. Register one with @task("{type}", version={version}), or correct the '
            "version of the message."
        )
    known = ", ".join(sorted({handler.type for handler in registry}))
    return UnknownTypeError(
        f"No handler for task type {type!r}. This worker has handlers for: {known}. "
        "Register one with @task, or correct the type of the message."
    )
