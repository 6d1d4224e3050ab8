"""Which dependencies count as unavailable, from what workers report."""

import pytest

from taskqueue_operator.drain.dependencies import unavailable_dependencies
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.drain.worker import REPORT_TIMEOUT

from .builders import report
from .scenario import DrainScenario


def reporting(**missing: tuple[str, ...]) -> DrainScenario:
    scenario = DrainScenario("abcd")
    for name, dependencies in missing.items():
        scenario.report(name, unavailable_dependencies=dependencies)
    return scenario


def unavailable(scenario: DrainScenario) -> tuple[str, ...]:
    return unavailable_dependencies(scenario.pool, scenario.now)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ({}, ()),
        ({"a": ("payments",)}, ()),
        ({"a": ("payments",), "b": ("payments",)}, ("payments",)),
        ({"a": ("payments",), "b": ("mail",)}, ()),
        ({"a": ("payments", "mail"), "b": ("mail", "payments")}, ("mail", "payments")),
        ({"a": ("payments", "payments"), "b": ("mail",)}, ()),
    ],
)
def test_a_dependency_is_unavailable_if_half_of_the_workers_report_it(
    missing: dict[str, tuple[str, ...]], expected: tuple[str, ...]
) -> None:
    assert unavailable(reporting(**missing)) == expected


def test_a_worker_that_reaches_its_dependency_again_says_so() -> None:
    scenario = reporting(a=("payments",), b=("payments",))
    scenario.report("b")
    assert unavailable(scenario) == ()


def test_what_a_worker_said_that_reports_no_more_does_not_count() -> None:
    scenario = reporting(a=("payments",), b=("payments",), c=("payments",), d=("payments",))
    scenario.wait(REPORT_TIMEOUT.total_seconds() - 1)
    assert unavailable(scenario) == ("payments",)
    for name in "abc":
        scenario.report(name)
    scenario.wait(2)
    assert unavailable(scenario) == ()
    scenario.wait(REPORT_TIMEOUT.total_seconds())
    assert unavailable(scenario) == ()


def test_workers_without_a_report_do_not_outvote_the_others() -> None:
    scenario = DrainScenario("abcd")
    scenario.wait(REPORT_TIMEOUT.total_seconds())
    scenario.report("a", unavailable_dependencies=("payments",))
    assert unavailable(scenario) == ("payments",)


def test_only_workers_of_this_taskqueue_count() -> None:
    scenario = DrainScenario("a")
    scenario.pool.on_report(report("x", 1, State.CONSUMING, unavailable_dependencies=("mail",)), "x", scenario.now)
    assert unavailable(scenario) == ()
    scenario.report("a", unavailable_dependencies=("payments",))
    assert unavailable(scenario) == ("payments",)
    scenario.change_pod("a", deleting=True)
    assert unavailable(scenario) == ()
