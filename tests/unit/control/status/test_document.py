"""Which changes of the status are written at once."""

from typing import Any

import pytest

from taskqueue_operator.control.status.document import Change, change


def status(reason: str, message: str) -> dict[str, Any]:
    condition = {"type": "TopologyReady", "status": "False", "reason": reason, "message": message}
    return {"queue": "thumbnails", "conditions": [condition]}


@pytest.mark.parametrize(
    ("reason", "before", "after", "expected"),
    [
        ("Migrating", "It holds 5 ready, 1 unacked messages.", "It holds 4 ready, 2 unacked messages.", Change.FIGURES),
        ("Migrating", "It holds 5 ready messages.", "It is empty.", Change.CONDITIONS),
        ("TopologyRefused", "The broker shows 5 ready nodes.", "The broker shows 4 ready nodes.", Change.CONDITIONS),
    ],
    ids=["counts of a migration", "stage of a migration", "numbers of another message"],
)
def test_only_the_counts_of_a_migration_wait_as_figures_do(
    reason: str, before: str, after: str, expected: Change
) -> None:
    assert change(status(reason, before), status(reason, after)) is expected
