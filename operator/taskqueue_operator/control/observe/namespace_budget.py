"""Work of the process that namespaces share.

Namespaces that need less than an equal share get what they need; the others share what is left.
"""

from collections import Counter
from collections.abc import Iterable


class NamespaceBudget:
    """So much work in each period, shared by namespaces."""

    def __init__(self, per_period: float) -> None:
        self._per_period = per_period
        self._needs = Counter[str]()
        self._share: float | None = None

    def add(self, namespace: str, work: int) -> None:
        """Change what a namespace needs in one period."""
        self._needs[namespace] += work
        if not self._needs[namespace]:
            del self._needs[namespace]
        self._share = None

    def stretch(self, namespace: str) -> float:
        """Return by how much the periods of a namespace have to be longer, so that its share is enough."""
        if self._share is None:
            self._share = _equal_share(self._needs.values(), self._per_period)
        return max(1.0, self._needs[namespace] / self._share) if self._share else 1.0


def _equal_share(needs: Iterable[int], budget: float) -> float:
    """Return the most that each may have if none has more than it needs, and all together at most the budget."""
    ordered = sorted(needs)
    for index, need in enumerate(ordered):
        share = budget / (len(ordered) - index)
        if need > share:
            return share
        budget -= need
    return float("inf")
