"""The versions, transports and pools of Celery that can be drained."""

from typing import Final

from taskqueue_drain.environment import CannotJoinError

OLDEST: Final = (5, 4)
FIRST_UNKNOWN: Final = (5, 8)
POOLS: Final = ("celery.concurrency.prefork", "celery.concurrency.solo", "celery.concurrency.thread")
GREEN_POOL: Final = "celery.concurrency.gevent"


def check_celery(version: str, pool: str, driver: str, *, has_hub: bool) -> None:
    """Check what runs.

    Args:
        version: Version of Celery.
        pool: Module of the pool.
        driver: Type of the transport's driver.
        has_hub: Whether the worker runs on kombu's event loop. It does, unless gevent has patched the sockets.

    Raises:
        CannotJoinError: It cannot be drained.
    """
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if not OLDEST <= numbers < FIRST_UNKNOWN:
        raise CannotJoinError(f"Celery {version} is not supported: install Celery 5.4 to 5.7")
    if driver != "amqp":
        raise CannotJoinError(f"the broker is reached by {driver!r} and not by AMQP: use RabbitMQ with amqp:// URLs")
    if pool not in (POOLS if has_hub else (GREEN_POOL,)):
        raise CannotJoinError(f"{pool} cannot be drained: select prefork, threads, solo or gevent by the option --pool")
