"""The audit finds each kind of harm, and takes for none what is none."""

import pytest

from tests.bench.ledger import Ledger, Receipt

CLEAN = {
    "tasks": 1,
    "redelivered_after_start": 0,
    "doubled": 0,
    "lost": 0,
    "failed_deliveries": 0,
    "hoard_returns": 0,
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


def test_a_task_that_was_started_and_done_once_is_no_harm() -> None:
    assert ledger(started(1), done(2)).audit() == CLEAN


def test_a_task_that_was_cut_and_begun_again_was_redelivered_after_its_start() -> None:
    cut = ledger(started(1), started(30, "b", earlier=1, failed=1), done(31, "b"))

    assert cut.audit() == CLEAN | {"redelivered_after_start": 1, "failed_deliveries": 1}


def test_a_task_whose_acknowledgement_was_lost_is_done_twice() -> None:
    twice = ledger(started(1), done(2), started(30, "b", earlier=1, failed=1), done(31, "b"))

    assert twice.audit() == CLEAN | {"redelivered_after_start": 1, "doubled": 1, "failed_deliveries": 1}


@pytest.mark.parametrize("receipts", [(), (started(1),)], ids=["never begun", "begun and never ended"])
def test_a_task_that_was_never_done_is_lost(receipts: tuple[Receipt, ...]) -> None:
    assert ledger(*receipts).audit() == CLEAN | {"lost": 1}
    assert ledger(*receipts).open == 1


def test_what_was_requeued_before_a_handler_began_is_counted_apart() -> None:
    assert ledger(started(1, earlier=3), done(2)).audit() == CLEAN | {"hoard_returns": 3}


def test_of_deliveries_before_the_second_start_the_first_start_is_no_return() -> None:
    both = ledger(started(1, earlier=2), started(9, "b", earlier=4, failed=1), done(10, "b"))

    assert both.audit() == CLEAN | {"redelivered_after_start": 1, "failed_deliveries": 1, "hoard_returns": 3}


def test_a_worker_that_was_killed_before_its_receipt_shows_in_the_count_of_the_broker() -> None:
    assert ledger(started(9, "b", earlier=1, failed=1), done(10, "b")).audit()["failed_deliveries"] == 1


def test_receipts_count_in_whatever_order_they_are_read() -> None:
    receipts = (done(31, "b"), started(30, "b", earlier=1, failed=1), started(1))

    assert ledger(*receipts).audit() == ledger(*reversed(receipts)).audit()


def test_a_receipt_that_is_read_twice_counts_once() -> None:
    assert ledger(started(1), started(1), done(2), done(2)).audit() == CLEAN


def test_a_task_that_was_not_published_for_certain_is_left_out() -> None:
    unsure = Ledger()
    unsure.add([started(1), started(2)])

    assert unsure.audit() == CLEAN | {"tasks": 0}


def test_a_pod_is_busy_from_the_start_of_a_task_until_it_is_done() -> None:
    entries = ledger(started(10), done(20))

    assert [entries.busy("a", at) for at in (9, 11, 19, 21)] == [False, True, True, False]
    assert not entries.busy("b", 11)


def test_a_pod_whose_task_was_cut_is_busy_at_its_end() -> None:
    assert ledger(started(1), started(30, "b"), done(31, "b")).busy("a", 29)


def test_a_receipt_says_how_often_the_broker_had_delivered_before() -> None:
    body = {"what": "started", "task": "task", "pod": "a", "at": 1, "acquired": 2, "failed": 1, "redelivered": True}

    assert Receipt.parse(body) == started(1, earlier=2, failed=1)


def test_a_broker_that_does_not_count_says_that_it_has_delivered_before() -> None:
    body = {"what": "started", "task": "task", "pod": "a", "at": 1, "acquired": 0, "failed": 0, "redelivered": True}

    assert Receipt.parse(body) == started(1, earlier=1)


def test_of_a_harmed_task_all_is_told_in_order() -> None:
    receipts = (started(1), started(30, "b"), done(31, "b"))

    assert ledger(*reversed(receipts)).harmed() == {"task": list(receipts)}
    assert ledger(started(1), done(2)).harmed() == {}
