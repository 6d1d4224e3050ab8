"""The breakers of a process, for its reports and metrics."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .breaker import Breaker


class Breakers:
    """All breakers, by name.

    Attributes:
        on_change: Called, in any thread, when one opens or closes.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, Breaker] = {}
        self.on_change: Callable[[], None] = lambda: None

    def add(self, breaker: "Breaker") -> None:
        """Add a breaker.

        Raises:
            ValueError: There is one of this name.
        """
        if self._by_name.setdefault(breaker.name, breaker) is not breaker:
            raise ValueError(f"There are two breakers {breaker.name!r}. Make one for each dependency, and share it.")

    def unavailable(self) -> tuple[str, ...]:
        """Return the names of the breakers whose dependencies are known to be away, sorted."""
        return tuple(sorted(breaker.name for breaker in self if breaker.is_unavailable))

    def __iter__(self) -> "Iterator[Breaker]":
        return iter(tuple(self._by_name.values()))


breakers: Final = Breakers()
