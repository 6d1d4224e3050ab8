"""The stages of a decision: number, reason and explanation of each."""

import pytest

from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import DecisionReason, Workers
from taskqueue_operator.scaling.policy import Policy
from tests.approved import assert_approved

from .builders import at, certain, settled
from .stage_cases import CASES, Case


@pytest.mark.parametrize(("key", "case"), CASES.items(), ids=CASES.keys())
def test_a_decision_has_the_expected_number_reason_and_explanation(key: str, case: Case) -> None:
    decision = decide(case.reading, case.workers, case.policy, case.memory, at(0))
    assert (decision.desired, decision.reason) == (case.desired, case.reason)
    assert_approved(key, decision.explanation)


def test_every_reason_has_a_case() -> None:
    assert {case.reason for case in CASES.values()} == set(DecisionReason) - {DecisionReason.FALLBACK}


def test_the_explanation_joins_the_lines_of_all_stages() -> None:
    decision = decide(certain(5230), Workers(1), Policy(50, ready_per_replica=100), settled(0), at(0))
    assert len(decision.explanation_lines) == 2
    assert decision.explanation == "; ".join(decision.explanation_lines)
