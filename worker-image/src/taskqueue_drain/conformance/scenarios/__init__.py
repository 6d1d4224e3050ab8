"""What the kit does with workers: each scenario has a worker of its own, and all run at the same time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from taskqueue_drain.conformance.case import Case

from . import commands, drains, faults, periods


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario.

    Attributes:
        run: What happens, from when the worker consumes.
        rules: What it tests. Reports are checked in all scenarios.
    """

    run: Callable[[Case], Awaitable[None]]
    rules: frozenset[str]


def _scenario(run: Callable[[Case], Awaitable[None]], *rules: str) -> Scenario:
    return Scenario(run, frozenset(rules))


async def consuming_and_late_message(case: Case) -> None:
    """Wait for a report of an idle worker, which leaves it as it was, and then deliver a late message."""
    await periods.consuming(case)
    await faults.late_message(case)


SCENARIOS: Final = (
    _scenario(commands.run, "errors", "incarnation", "duplicates", "order"),
    _scenario(
        drains.idle, "report-times", "own-connection", "lease", "undrain", "drained-is-certain", "healthz", "readyz"
    ),
    _scenario(drains.busy, "report-fields", "report-address", "drain", "drained-is-certain", "undrain", "readyz"),
    _scenario(faults.unconfirmed, "drained-is-certain", "unconfirmed-drain"),
    _scenario(faults.lost_connection, "lost-connection", "healthz"),
    _scenario(drains.sigterm, "sigterm", "readyz"),
    _scenario(consuming_and_late_message, "report-times", "late-message"),
)
