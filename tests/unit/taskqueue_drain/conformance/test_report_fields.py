import json
from typing import Any

import pytest

from taskqueue_drain import Drain, Figures, Identity, State
from taskqueue_drain.conformance.report_fields import OPTIONAL_FIELDS, problems
from taskqueue_drain.protocol import Answer, build_report

IDENTITY = Identity("media/jobs", "uid", "5f2b8f0f6c0e4b6f9a3f6d1f4a7c9e21", 600)
OF_ENVIRONMENT = {"taskqueue": "media/jobs", "pod": "uid", "task_timeout_seconds": 600}
FIGURES = Figures(1, 0, 0, 1.5, 2, 3, 4.5)


def report(**changes: object) -> dict[str, Any]:
    body = build_report(IDENTITY, 1, State.DRAINING, FIGURES, Drain("default", 7, 1), Answer("id"))
    fields: dict[str, Any] = json.loads(body)
    return fields | changes


def found(fields: dict[str, Any]) -> list[str]:
    return list(problems(fields, OF_ENVIRONMENT))


def test_a_report_of_the_library_has_no_problem() -> None:
    assert found(report()) == []
    assert found(report(drain=None, answer=None, oldest_seconds=None)) == []


@pytest.mark.parametrize("field", [name for name in report() if name not in OPTIONAL_FIELDS])
def test_each_field_is_needed(field: str) -> None:
    fields = report()
    del fields[field]
    (problem,) = found(fields)
    assert field in problem
    assert "missing" in problem


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("taskqueue", "media/other"),
        ("incarnation", "5F2B"),
        ("number", 0),
        ("number", True),
        ("state", "asleep"),
        ("in_flight", -1),
        ("prefetched", 2**63),
        ("idle_seconds", "0"),
        ("oldest_seconds", []),
        ("drain", {"installation": "default", "epoch": 7}),
        ("answer", {"id": "x" * 257, "result": "done", "reason": None}),
        ("answer", {"id": "x", "result": "maybe", "reason": None}),
        ("state", {}),
        ("failed", json.loads("[" * 900 + "]" * 900)),
        ("answer", {"id": "x", "result": [], "reason": None}),
        ("dead_letters_blocked", None),
        ("unavailable_dependencies", "payments"),
        ("unavailable_dependencies", ["payments", "two words"]),
        ("unavailable_dependencies", ["payments"] * 17),
    ],
)
def test_each_field_is_checked(field: str, value: object) -> None:
    (problem,) = found(report(**{field: value}))
    assert field in problem
