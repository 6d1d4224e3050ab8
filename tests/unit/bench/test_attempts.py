"""The account of failing tasks and their retries."""

import pytest

from tests.bench.attempts import Attempt, Attempts, chosen_delays

LEDGER = ["id-1 1 100.0", "id-2 1 100.0", "id-1 2 102.5", "id-2 2 103.0", "id-2 2 103.5"]


def test_the_lateness_of_a_retry_is_what_exceeds_its_delay() -> None:
    lines = [
        {"task_id": "id-1", "attempt": 2, "delay_seconds": 2.25},
        {"task_id": "id-1", "attempt": 3, "delay_seconds": 4},
    ]
    delays = chosen_delays(lines)

    assert Attempts(LEDGER).lateness(delays) == pytest.approx([0.25]), "the third attempt has not begun"


def test_a_task_whose_attempt_began_twice_is_repeated_and_has_no_lateness() -> None:
    attempts = Attempts(LEDGER)

    assert attempts.repeated == {"id-2"}
    assert attempts.lateness({Attempt("id-2", 2): 3.0}) == []
