"""The audit counts every sequence of deliveries correctly."""

from collections.abc import Sequence
from enum import Enum
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.ledger import Ledger, Receipt


class End(Enum):
    """How a delivery ends: whether a handler started, whether it finished, whether the broker counts a failure."""

    REQUEUED = (False, False, False)
    KILLED_WHILE_PREFETCHED = (False, False, True)
    INTERRUPTED = (True, False, True)
    INTERRUPTED_BEFORE_ACK = (True, True, True)
    DONE = (True, True, False)


UNDONE = st.sampled_from([end for end in End if end is not End.DONE])


@given(failures=st.lists(UNDONE, max_size=8), done=st.booleans())
def test_a_sequence_of_deliveries_is_audited_correctly(failures: list[End], done: bool) -> None:  # noqa: FBT001 - drawn
    deliveries = [*failures, End.DONE] if done else failures
    starts = [number for number, end in enumerate(deliveries) if end.value[0]]
    known = deliveries[: starts[-1]] if starts else []  # a receipt of a start counts the deliveries before it

    account = ledger_of(deliveries).audit()

    assert account["redelivered_after_start"] == max(0, len(starts) - 1)
    assert account["doubled"] == max(0, sum(end.value[1] for end in deliveries) - 1)
    assert account["lost"] == (not any(end.value[1] for end in deliveries))
    assert account["requeued_before_start"] == sum(not end.value[0] for end in known)
    assert account["failed_deliveries"] == sum(end.value[2] for end in known)


def ledger_of(deliveries: Sequence[End]) -> Ledger:
    ledger, clock, failed = Ledger(), count(), 0
    ledger.published.add("task")
    for earlier, end in enumerate(deliveries):
        starts, finishes, fails = end.value
        if starts:
            ledger.add([Receipt("started", "task", f"pod-{earlier}", next(clock), earlier, failed)])
        if finishes:
            ledger.add([Receipt("done", "task", f"pod-{earlier}", next(clock), earlier, failed)])
        failed += fails
    return ledger
