"""The golden recording: one decision for each reason. `python -m tests.unit.scaling.golden` renews it.

It contains no explanations: their approved texts are in `tests/approved_messages.yaml`.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from taskqueue_operator.resource.scaling import FallbackBehavior
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Decision, DecisionReason, Workers
from taskqueue_operator.scaling.policy import Fallback, Policy
from taskqueue_operator.scaling.recording import Recording, to_json

from .builders import at, doubtful, settled
from .stage_cases import CASES, Case

GOLDEN: Final = Path(__file__).with_name("golden.json")
FALLBACK: Final = Case(
    doubtful(None),
    Workers(2, 1),
    Policy(20, fallback=Fallback(timedelta(seconds=120), 6, FallbackBehavior.AT_LEAST)),
    6,
    DecisionReason.FALLBACK,
    settled(0, read_at=at(-120)),
)


def without_explanation(decision: Decision) -> Decision:
    return replace(decision, explanation_lines=())


def recordings() -> list[Recording]:
    """Return a recording of the last case of each reason."""
    cases = {case.reason: case for case in (*CASES.values(), FALLBACK)}
    return [
        Recording(
            at(0),
            case.reading,
            case.workers,
            case.policy,
            case.memory,
            without_explanation(decide(case.reading, case.workers, case.policy, case.memory, at(0))),
        )
        for _, case in sorted(cases.items())
    ]


if __name__ == "__main__":
    GOLDEN.write_bytes(to_json(recordings()) + b"\n")
