"""The order of what surrounds a handler."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from taskqueue_worker.middleware import Middleware


def surroundings(
    *,
    idempotent: "Middleware | None",
    results: "Middleware | None",
    breaker: "Middleware | None",
    rate: "Middleware | str | None",
    around: "Sequence[Middleware]",
) -> "tuple[Middleware, ...]":
    """Return the middleware of a handler, from the outside in.

    A duplicate reaches nothing else. What a rate refuses shows as queued.
    """
    if isinstance(rate, str):
        from taskqueue_worker.rates import LocalRate

        rate = cast("Middleware", LocalRate(rate))
    options = (idempotent, results, breaker, rate)
    return (*(option for option in options if option is not None), *around)
