"""What happened to tasks, derived from their receipts: which were started again, done twice, or never done.

The broker confirms every receipt before the task continues, so that the receipt outlives the worker. A worker that is
killed before its first receipt shows only in the broker's count of failed deliveries.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

STARTED, DONE = "started", "done"


class Receipt(NamedTuple):
    """The message that a task publishes when it has `started`, and when it is `done`.

    Attributes:
        what: `started` or `done`.
        task: Its id, the same at each delivery.
        pod: The pod in which it ran.
        at: Unix time in seconds; all pods share one clock.
        earlier: How often the broker had delivered it before.
        failed: How many of these deliveries the broker counts as failed: the consumer disappeared or rejected it.
    """

    what: str
    task: str
    pod: str
    at: float
    earlier: int = 0
    failed: int = 0

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Parse a receipt of `tests.e2e.audited`."""
        failed = int(body["failed"])
        # A broker that does not count every delivery still sets `redelivered`.
        earlier = max(int(body["acquired"]), failed, int(body["redelivered"]))
        return cls(body["what"], body["task"], body["pod"], float(body["at"]), earlier, failed)


class Ledger:
    """The tasks that were published, and the receipts of each."""

    def __init__(self) -> None:
        self.published: set[str] = set()
        self._receipts: defaultdict[str, set[Receipt]] = defaultdict(set)

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Record receipts, each once; receipts of tasks whose publishing was not confirmed do not count."""
        for receipt in receipts:
            self._receipts[receipt.task].add(receipt)

    @property
    def open(self) -> int:
        """Count the tasks that are not done."""
        return sum(not self._count(task, DONE) for task in self.published)

    def audit(self) -> dict[str, int]:
        """Count harm, and separately deliveries that were requeued before a handler started, which is no harm."""
        tasks = self.published
        return {
            "tasks": len(tasks),
            "redelivered_after_start": sum(max(0, self._count(task, STARTED) - 1) for task in tasks),
            "doubled": sum(max(0, self._count(task, DONE) - 1) for task in tasks),
            "lost": self.open,
            "failed_deliveries": sum(
                max((receipt.failed for receipt in self._starts(task)), default=0) for task in tasks
            ),
            "requeued_before_start": sum(self._requeued(task) for task in tasks),
        }

    def harmed(self) -> dict[str, list[Receipt]]:
        """Return the tasks that were started again or never done, with the receipts of each in order."""
        done_once = {task for task in self.published if self._count(task, STARTED) == self._count(task, DONE) == 1}
        return {
            task: sorted(self._receipts[task], key=lambda receipt: receipt.at) for task in self.published - done_once
        }

    def busy(self, pod: str, at: float) -> bool:
        """Return whether a task ran in `pod` at this moment."""
        receipts = itertools.chain.from_iterable(self._receipts.values())
        before = [receipt for receipt in receipts if receipt.pod == pod and receipt.at <= at]
        started, done = ({receipt.task for receipt in before if receipt.what == what} for what in (STARTED, DONE))
        return bool(started - done)

    def _starts(self, task: str) -> list[Receipt]:
        return sorted(
            (receipt for receipt in self._receipts[task] if receipt.what == STARTED), key=lambda receipt: receipt.at
        )

    def _requeued(self, task: str) -> int:
        """Count its deliveries to workers that never started it."""
        return max((receipt.earlier - starts for starts, receipt in enumerate(self._starts(task))), default=0)

    def _count(self, task: str, what: str) -> int:
        return sum(receipt.what == what for receipt in self._receipts[task])
