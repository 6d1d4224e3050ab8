"""The attempts of tasks that fail, and how late each one began. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Attempt(NamedTuple):
    """One attempt of one task: its id, and the number of the attempt from 1."""

    task_id: str
    number: int


class Attempts:
    """When the attempts of tasks began, by the ledger that the tasks write."""

    def __init__(self, ledger: Iterable[str]) -> None:
        """Parse lines `task_id attempt seconds`."""
        self._began: dict[Attempt, list[float]] = defaultdict(list)
        for line in ledger:
            task_id, number, seconds = line.split()
            self._began[Attempt(task_id, int(number))].append(float(seconds))

    @property
    def repeated(self) -> frozenset[str]:
        """The tasks of which one attempt began more than once."""
        return frozenset(attempt.task_id for attempt, times in self._began.items() if len(times) > 1)

    def lateness(self, delays: Mapping[Attempt, float]) -> Sequence[float]:
        """Return by how many seconds retries began later than their delay, counted from the failed attempt.

        Attempts that began twice, or not at all, are left out.
        """
        late: list[float] = []
        for attempt, delay in delays.items():
            times = [*self._began.get(attempt._replace(number=attempt.number - 1), ()), *self._began.get(attempt, ())]
            if len(times) == 2:
                late.append(times[1] - times[0] - delay)
        return late


def chosen_delays(lines: Iterable[Mapping[str, Any]]) -> Mapping[Attempt, float]:
    """Return the delay before each retry, by the log lines `retry stored` of a worker."""
    return {Attempt(line["task_id"], line["attempt"]): line["delay_seconds"] for line in lines}
