"""Log lines of one TaskQueue, namespace or broker host are bounded; other lines are not."""

import pytest
import structlog

from taskqueue_operator.app.log_shares import DROPPED, LogShares
from taskqueue_operator.resource import bounds

FLAPPING = {"taskqueue": "media/flapping"}


class Lines:
    """Lines at a time of the test's own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._shares = LogShares(lambda: self.now)

    def log(self, fields: dict[str, str], times: int = 1) -> tuple[int, int]:
        """Return how many of so many equal lines are kept, and how many dropped ones these state."""
        kept = []
        for _ in range(times):
            try:
                kept.append(self._shares(None, "info", dict(fields)))
            except structlog.DropEvent:
                continue
        return len(kept), sum(line.get(DROPPED, 0) for line in kept)


def test_a_taskqueue_that_logs_too_much_costs_no_line_of_another_one() -> None:
    lines = Lines()
    assert lines.log(FLAPPING, 5000) == (bounds.TASKQUEUE_LOG_LINES_AT_ONCE, 0)
    assert lines.log({"taskqueue": "media/other"}) == (1, 0)
    lines.now += 2
    assert lines.log(FLAPPING) == (1, 5000 - bounds.TASKQUEUE_LOG_LINES_AT_ONCE)
    lines.now += 2
    assert lines.log(FLAPPING) == (1, 0)


@pytest.mark.parametrize(
    ("many", "other"),
    [
        ([{"taskqueue": f"many/{n}"} for n in range(100)], {"taskqueue": "other/one"}),
        ([{"broker": "many:5672", "vhost": str(n)} for n in range(100)], {"broker": "other:5672"}),
    ],
)
def test_a_namespace_or_host_that_logs_too_much_costs_no_line_of_another_one(
    many: list[dict[str, str]], other: dict[str, str]
) -> None:
    lines = Lines()
    assert sum(lines.log(fields, 500)[0] for fields in many) == bounds.GROUP_LOG_LINES_AT_ONCE
    assert lines.log(other) == (1, 0)
    lines.now += 3600
    kept, dropped = lines.log(many[0])
    assert kept == 1
    assert dropped > 0


def test_lines_of_nobody_are_never_dropped() -> None:
    assert Lines().log({"detail": "x"}, 20_000) == (20_000, 0)
