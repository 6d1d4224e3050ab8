"""How a handler declares that it takes several messages at once. Pure."""

from dataclasses import dataclass

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
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 1 <= self.size <= LARGEST_BATCH:
            raise ValueError(f"Batch: size={self.size!r} must be a whole number from 1 to {LARGEST_BATCH}.")
        if not isinstance(self.seconds, int | float) or not self.seconds > 0:
            raise ValueError(f"Batch: seconds={self.seconds!r} must be a positive number.")
