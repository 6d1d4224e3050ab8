"""How a handler declares that it takes several messages at once. Pure."""

from dataclasses import dataclass
from types import UnionType

from taskqueue_drain.bounds import LONGEST_TIMEOUT_SECONDS
from taskqueue_worker.bounds import LARGEST_BATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Up to `size` messages, of which the first has waited for at most so many seconds.

    Raises:
        ValueError: A value is out of range.
    """

    size: int
    seconds: float

    def __post_init__(self) -> None:
        _check("size", self.size, int, LARGEST_BATCH, f"a whole number from 1 to {LARGEST_BATCH}")
        _check("seconds", self.seconds, int | float, LONGEST_TIMEOUT_SECONDS, "a positive number")


def _check(name: str, value: object, kind: type[int] | UnionType, most: float, expected: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool) or not 0 < value <= most:
        raise ValueError(f"Batch: {name}={value!r} must be {expected}.")
