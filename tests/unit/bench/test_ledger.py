"""The audit counts each kind of harm, and nothing else."""

import pytest

from tests.bench.ledger import Ledger, Receipt

CLEAN = {
    "tasks": 1,
    "redelivered_after_start": 0,
    "doubled": 0,
    "lost": 0,
    "failed_deliveries": 0,
    "requeued_before_start": 0,
}


def started(at: float, pod: str = "a", *, earlier: int = 0, failed: int = 0) -> Receipt:
    return Receipt("started", "task", pod, at, earlier, failed)


def done(at: float, pod: str = "a") -> Receipt:
    return Receipt("done", "task", pod, at)


def ledger(*receipts: Receipt) -> Ledger:
    made = Ledger()
    made.published.add("task")
    made.add(receipts)
    return made


def test_a_task_started_and_done_once_counts_as_no_harm() -> None:
    assert ledger(started(1), done(2)).audit() == CLEAN


def test_an_interrupted_task_counts_as_redelivered_after_start() -> None:
    interrupted = ledger(started(1), started(30, "b", earlier=1, failed=1), done(31, "b"))

    assert interrupted.audit() == CLEAN | {"redelivered_after_start": 1, "failed_deliveries": 1}


def test_a_task_with_a_lost_acknowledgement_counts_as_doubled() -> None:
    twice = ledger(started(1), done(2), started(30, "b", earlier=1, failed=1), done(31, "b"))

    assert twice.audit() == CLEAN | {"redelivered_after_start": 1, "doubled": 1, "failed_deliveries": 1}


@pytest.mark.parametrize("receipts", [(), (started(1),)], ids=["never started", "started and never done"])
def test_a_task_never_done_counts_as_lost(receipts: tuple[Receipt, ...]) -> None:
    assert ledger(*receipts).audit() == CLEAN | {"lost": 1}
    assert ledger(*receipts).open == 1


def test_deliveries_requeued_before_a_handler_starts_count_separately() -> None:
    assert ledger(started(1, earlier=3), done(2)).audit() == CLEAN | {"requeued_before_start": 3}


def test_the_first_start_of_a_task_does_not_count_as_requeued() -> None:
    both = ledger(started(1, earlier=2), started(9, "b", earlier=4, failed=1), done(10, "b"))

    assert both.audit() == CLEAN | {"redelivered_after_start": 1, "failed_deliveries": 1, "requeued_before_start": 3}


def test_a_worker_killed_before_its_receipt_counts_as_failed_delivery_by_the_broker() -> None:
    assert ledger(started(9, "b", earlier=1, failed=1), done(10, "b")).audit()["failed_deliveries"] == 1


def test_the_order_of_receipts_changes_no_audit() -> None:
    receipts = (done(31, "b"), started(30, "b", earlier=1, failed=1), started(1))

    assert ledger(*receipts).audit() == ledger(*reversed(receipts)).audit()


def test_a_repeated_receipt_counts_once() -> None:
    assert ledger(started(1), started(1), done(2), done(2)).audit() == CLEAN


def test_a_task_without_a_publisher_confirm_does_not_count() -> None:
    unconfirmed = Ledger()
    unconfirmed.add([started(1), started(2)])

    assert unconfirmed.audit() == CLEAN | {"tasks": 0}


def test_a_pod_is_busy_from_the_start_of_a_task_to_its_end() -> None:
    entries = ledger(started(10), done(20))

    assert [entries.busy("a", at) for at in (9, 11, 19, 21)] == [False, True, True, False]
    assert not entries.busy("b", 11)


def test_a_pod_with_an_interrupted_task_is_busy_at_its_deletion() -> None:
    assert ledger(started(1), started(30, "b"), done(31, "b")).busy("a", 29)


def test_a_receipt_contains_the_number_of_earlier_deliveries() -> None:
    body = {"what": "started", "task": "task", "pod": "a", "at": 1, "acquired": 2, "failed": 1, "redelivered": True}

    assert Receipt.parse(body) == started(1, earlier=2, failed=1)


def test_without_a_count_of_the_broker_redelivered_means_one_earlier_delivery() -> None:
    body = {"what": "started", "task": "task", "pod": "a", "at": 1, "acquired": 0, "failed": 0, "redelivered": True}

    assert Receipt.parse(body) == started(1, earlier=1)


def test_harmed_lists_all_receipts_of_a_task_in_order() -> None:
    receipts = (started(1), started(30, "b"), done(31, "b"))

    assert ledger(*reversed(receipts)).harmed() == {"task": list(receipts)}
    assert ledger(started(1), done(2)).harmed() == {}
