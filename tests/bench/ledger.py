"""What became of tasks, by the receipts that they left: which were begun again, done twice, or never done.

Every receipt is confirmed by the broker before the task goes on, so that it survives the worker. What a worker that was
killed before its first receipt began in vain, the broker's own count of failed deliveries tells.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

STARTED, DONE = "started", "done"


class Receipt(NamedTuple):
    """What a task said when it `started`, and when it was `done`.

    Attributes:
        what: One of the two.
        task: Its identity, the same at each delivery.
        pod: Where it ran.
        at: When, in seconds of the clock that all share.
        earlier: How often, by the broker's account, it had been delivered before.
        failed: How many of these deliveries the broker counts as failed: its consumer was gone, or had rejected it.
    """

    what: str
    task: str
    pod: str
    at: float
    earlier: int = 0
    failed: int = 0

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Read what `tests.e2e.audited` writes."""
        failed = int(body["failed"])
        # A broker that does not count every time it handed a message out says at least that it did.
        earlier = max(int(body["acquired"]), failed, int(body["redelivered"]))
        return cls(body["what"], body["task"], body["pod"], float(body["at"]), earlier, failed)


class Ledger:
    """The tasks that were published, and the receipts of each."""

    def __init__(self) -> None:
        self.published: set[str] = set()
        self._receipts: defaultdict[str, set[Receipt]] = defaultdict(set)

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Take note of receipts, of each once; of tasks that were not published for certain none counts."""
        for receipt in receipts:
            self._receipts[receipt.task].add(receipt)

    @property
    def open(self) -> int:
        """How many of the tasks are not done."""
        return sum(not self._count(task, DONE) for task in self.published)

    def audit(self) -> dict[str, int]:
        """Count harm; and, apart, what was given back before a handler had begun it, which is none."""
        tasks = self.published
        return {
            "tasks": len(tasks),
            "redelivered_after_start": sum(max(0, self._count(task, STARTED) - 1) for task in tasks),
            "doubled": sum(max(0, self._count(task, DONE) - 1) for task in tasks),
            "lost": self.open,
            "failed_deliveries": sum(max((one.failed for one in self._starts(task)), default=0) for task in tasks),
            "hoard_returns": sum(self._requeued(task) for task in tasks),
        }

    def harmed(self) -> dict[str, list[Receipt]]:
        """Find the tasks that were begun again or never done, and all that is known of each, in order."""
        done_once = {task for task in self.published if self._count(task, STARTED) == self._count(task, DONE) == 1}
        return {task: sorted(self._receipts[task], key=lambda one: one.at) for task in self.published - done_once}

    def busy(self, pod: str, at: float) -> bool:
        """Whether a task ran there at that moment."""
        before = [one for receipts in self._receipts.values() for one in receipts if one.pod == pod and one.at <= at]
        return bool(
            {one.task for one in before if one.what == STARTED} - {one.task for one in before if one.what == DONE}
        )

    def _starts(self, task: str) -> list[Receipt]:
        return sorted((one for one in self._receipts[task] if one.what == STARTED), key=lambda one: one.at)

    def _requeued(self, task: str) -> int:
        """Count its deliveries to workers that never began it."""
        return max((one.earlier - begun for begun, one in enumerate(self._starts(task))), default=0)

    def _count(self, task: str, what: str) -> int:
        return sum(one.what == what for one in self._receipts[task])
