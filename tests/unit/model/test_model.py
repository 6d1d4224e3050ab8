"""The drain protocol as a whole, by random walks: with all rules there is no harm, without any one of them there is.

The operator is what ships: its plan and its execution loop. The workers, the broker, the API server, its controllers
and the kubelet are as small as the protocol allows. `FaultRates` lists the faults.
"""

import os
from itertools import count, islice
from typing import NamedTuple

import pytest

from taskqueue_operator.drain.protocol import Drain, State
from tests.unit.drain.builders import EPOCH, report
from tests.unit.drain.scenario import DrainScenario

from .rules import OperatorTypes, Rule, operator_without
from .simulation import FaultRates, Simulation

DEEP = bool(os.environ.get("TASKQUEUE_DEEP"))


class Walk(NamedTuple):
    """Fault rates under which the lack of a rule does harm, and a seed from which on a walk soon finds it."""

    rates: FaultRates
    seed: int = 0


WALKS = {
    Rule.LEASE: Walk(FaultRates(stop=0.1, change=0.1)),
    Rule.ORDER: Walk(FaultRates(late=0.4, twice=0.3, change=0.2, takeover=0.03, stop=0.05), 301),
    Rule.CERTAIN: Walk(FaultRates(change=0.2, leaderless=0.05), 9),
    Rule.NO_START: Walk(FaultRates(change=0.2)),
    Rule.ANNOTATION: Walk(FaultRates(slow=0.4, change=0.2, takeover=0.05), 1),
    Rule.GENERATION: Walk(FaultRates(slow=0.8, change=0.5), 15),
    Rule.REPORT_TIMEOUT: Walk(FaultRates(change=0.1, partition=0.03), 27),
    Rule.REMOVAL_ORDER: Walk(FaultRates(change=0.2), 33),
    Rule.SETTLED: Walk(FaultRates(change=0.3, slow=0.3), 4),
    Rule.RAISED_SEQ: Walk(FaultRates(slow=0.5, change=0.3), 7),
    Rule.REDRAIN_SEQ: Walk(FaultRates(twice=0.8, late=0.6, change=0.3), 20),
    Rule.REMOVALS_FIRST: Walk(FaultRates(change=0.2, slow=0.2), 12),
    Rule.OVERDUE: Walk(FaultRates(change=0.1, hang=0.3)),
    Rule.EMPTINESS: Walk(FaultRates(change=0.1)),
}


@pytest.mark.parametrize("seed", range(2000 if DEEP else 60))
def test_with_all_rules_there_is_no_harm(seed: int) -> None:
    assert Simulation(seed).run() == []


def test_the_walks_remove_workers() -> None:
    assert sum(_removed(seed) for seed in range(5)) > 10


def _removed(seed: int) -> int:
    simulation = Simulation(seed)
    simulation.run()
    return simulation.removed


@pytest.mark.parametrize("rule", WALKS, ids=lambda rule: rule.name.lower())
def test_without_any_one_rule_there_is_harm(rule: Rule) -> None:
    walk = WALKS[rule]
    simulations = (Simulation(seed, frozenset({rule}), walk.rates) for seed in islice(count(walk.seed), 400))
    assert any(simulation.run() for simulation in simulations), f"no harm without the rule: {rule}"


def _crashed(types: OperatorTypes) -> DrainScenario:
    """A worker that was drained, crashed and runs a task again; then the former answer arrives."""
    scenario = _scenario(types)
    scenario.send("a")
    scenario.change_pod("a", restarts=1)
    scenario.pool.on_report(report("a", 1, incarnation="1" * 32, in_flight=1), "an address", scenario.now)
    scenario.answer("a", State.DRAINED)
    return scenario


def _working(types: OperatorTypes) -> DrainScenario:
    """A worker that was drained and runs a task again."""
    scenario = _scenario(types)
    scenario.drain("a")
    scenario.report("a", State.CONSUMING, in_flight=1)
    return scenario


def _lease_ended(types: OperatorTypes) -> DrainScenario:
    """A worker whose lease ended a moment ago, since no renewal reached it."""
    scenario = _scenario(types)
    scenario.drain("a")
    scenario.plan_after_costs(2)
    scenario.wait(30)
    scenario.report("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
    for name in "bc":
        scenario.report(name)
    scenario.wait(30)
    return scenario


def _scenario(types: OperatorTypes) -> DrainScenario:
    return DrainScenario(pool_type=types.pool, context_type=types.context)


SCENARIOS = {Rule.INCARNATION: _crashed, Rule.CONTRARY: _working, Rule.RENEWAL: _lease_ended}
"""For rules that are needed within a second or two alone: a random walk hardly ever finds the harm."""


@pytest.mark.parametrize("rule", SCENARIOS, ids=lambda rule: rule.name.lower())
def test_without_these_rules_a_worker_that_may_run_a_task_is_removed_at_once(rule: Rule) -> None:
    arrange = SCENARIOS[rule]
    assert arrange(OperatorTypes()).plan_after_costs(2).scale_in_to is None
    assert arrange(operator_without({rule})).plan_after_costs(2).scale_in_to == 2


def test_every_rule_is_switched_off_in_some_test() -> None:
    assert {*WALKS, *SCENARIOS} == set(Rule)
