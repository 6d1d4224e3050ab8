"""What a store knows of a task: nothing, that it runs, or that it is done."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to a claim.

    Attributes:
        fence: The fencing token if the claim succeeded; it grows with each claim of a key. None if another one holds
            the key.
        is_done: Whether the task is done.
        seconds: How long the state lasts that refused the claim.
    """

    fence: int | None
    is_done: bool = False
    seconds: float = 0


class Claims(Protocol):
    """Claims of keys. A store decides each one alone, by its own clock.

    Raises:
        StoreUnavailableError: From each method.
    """

    async def claim(self, key: str, seconds: float) -> Claim:
        """Claim a key whose task is neither running nor done."""
        ...

    async def hold(self, key: str, fence: int, seconds: float) -> bool:
        """Hold a key for so long from now on. False: another claim has succeeded since."""
        ...

    async def finish(self, key: str, fence: int, seconds: float) -> bool:
        """Remember for so long that the task is done. False: another claim has succeeded since."""
        ...

    async def release(self, key: str, fence: int) -> None:
        """End a claim without effect, unless another one has succeeded since."""
        ...
