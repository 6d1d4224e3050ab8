"""Whatever happens to a task, in whatever order, the audit counts it as what it was."""

from collections.abc import Sequence
from enum import Enum
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.ledger import Ledger, Receipt


class End(Enum):
    """How a delivery ends: whether a handler had begun, had finished, and whether the broker counts a failure."""

    GIVEN_BACK = (False, False, False)
    KILLED_WITH_ITS_HOARD = (False, False, True)
    CUT = (True, False, True)
    CUT_BEFORE_ITS_ACKNOWLEDGEMENT = (True, True, True)
    DONE = (True, True, False)


UNDONE = st.sampled_from([end for end in End if end is not End.DONE])


@given(failures=st.lists(UNDONE, max_size=8), done=st.booleans())
def test_a_story_of_deliveries_is_audited_as_what_it_was(failures: list[End], done: bool) -> None:  # noqa: FBT001 - drawn
    story = [*failures, End.DONE] if done else failures
    begun = [number for number, end in enumerate(story) if end.value[0]]
    told = story[: begun[-1]] if begun else []  # what came before the last receipt of a start

    account = tell(story).audit()

    assert account["redelivered_after_start"] == max(0, len(begun) - 1)
    assert account["doubled"] == max(0, sum(end.value[1] for end in story) - 1)
    assert account["lost"] == (not any(end.value[1] for end in story))
    assert account["hoard_returns"] == sum(not end.value[0] for end in told)
    assert account["failed_deliveries"] == sum(end.value[2] for end in told)


def tell(story: Sequence[End]) -> Ledger:
    ledger, clock, failed = Ledger(), count(), 0
    ledger.published.add("task")
    for earlier, end in enumerate(story):
        starts, finishes, fails = end.value
        if starts:
            ledger.add([Receipt("started", "task", f"pod-{earlier}", next(clock), earlier, failed)])
        if finishes:
            ledger.add([Receipt("done", "task", f"pod-{earlier}", next(clock), earlier, failed)])
        failed += fails
    return ledger
