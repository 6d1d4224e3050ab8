"""The drain protocol as a whole, walked through by chance: with all rules there is no harm, without any one there is.

The operator plans with the real code; the workers, the broker, the API server, its controllers and the kubelet are as
small as the protocol allows. Everything that can go wrong does: see `Weather`.
"""

import os
from itertools import count, islice
from typing import NamedTuple

import pytest

from taskqueue_operator.drain.protocol import Drain, State
from tests.unit.drain.stage import EPOCH, Stage, report

from .rules import Rule, without
from .world import Weather, World

DEEP = bool(os.environ.get("TASKQUEUE_DEEP"))


class Where(NamedTuple):
    """Which weather brings out that a rule is missing, and from which seed on a walk soon comes upon harm."""

    weather: Weather
    seed: int = 0


WALKS = {
    Rule.LEASE: Where(Weather(stop=0.1, turn=0.1)),
    Rule.ORDER: Where(Weather(late=0.4, twice=0.3, turn=0.2, takeover=0.03, stop=0.05), 27),
    Rule.CERTAIN: Where(Weather(turn=0.2, leaderless=0.05)),
    Rule.NO_START: Where(Weather(turn=0.2)),
    Rule.ANNOTATION: Where(Weather(slow=0.4, turn=0.2, takeover=0.05)),
    Rule.GENERATION: Where(Weather(slow=0.8, turn=0.5), 44),
    Rule.REPORT_TIMEOUT: Where(Weather(turn=0.1, deaf=0.03)),
    Rule.REMOVAL_ORDER: Where(Weather(turn=0.2)),
    Rule.SETTLED: Where(Weather(turn=0.3, slow=0.3), 38),
    Rule.RAISED_SEQ: Where(Weather(slow=0.5, turn=0.3)),
    Rule.REDRAIN_SEQ: Where(Weather(twice=0.8, late=0.6, turn=0.3), 1),
    Rule.REMOVALS_FIRST: Where(Weather(turn=0.2, slow=0.2), 18),
    Rule.EMPTINESS: Where(Weather(turn=0.1)),
}


@pytest.mark.parametrize("seed", range(2000 if DEEP else 60))
def test_with_all_rules_there_is_no_harm(seed: int) -> None:
    world = World(seed)
    assert world.run() == []


def test_the_walks_do_remove_workers() -> None:
    assert sum(_removed(seed) for seed in range(5)) > 10


def _removed(seed: int) -> int:
    world = World(seed)
    world.run()
    return world.removed


@pytest.mark.parametrize("rule", WALKS, ids=lambda rule: rule.name.lower())
def test_without_any_one_rule_there_is_harm(rule: Rule) -> None:
    where = WALKS[rule]
    with without(rule):
        worlds = (World(seed, frozenset({rule}), where.weather) for seed in islice(count(where.seed), 400))
        assert any(world.run() for world in worlds), f"no harm, although nothing says: {rule}"


def _crashed() -> Stage:
    """A worker that was drained, crashed and works again; then the answer of before comes in."""
    stage = Stage()
    stage.tell("a")
    stage.show("a", restarts=1)
    stage.crew.see(report("a", 1, incarnation="1" * 32, in_flight=1), "there", stage.now)
    stage.answer("a", State.DRAINED)
    return stage


def _working() -> Stage:
    """A worker that was drained and works again."""
    stage = Stage()
    stage.drain("a")
    stage.say("a", State.CONSUMING, in_flight=1)
    return stage


def _forgotten() -> Stage:
    """A worker whose lease has ended a moment ago, since no renewal reached it."""
    stage = Stage()
    stage.drain("a")
    stage.priced(2)
    stage.wait(30)
    stage.say("a", State.DRAINED, drain=Drain("default", EPOCH, 1))
    for name in "bc":
        stage.say(name)
    stage.wait(30)
    return stage


SCENES = {Rule.INCARNATION: _crashed, Rule.CONTRARY: _working, Rule.RENEWAL: _forgotten}
"""For rules that are needed within a second or two alone: too rare to be walked into."""


@pytest.mark.parametrize("rule", SCENES, ids=lambda rule: rule.name.lower())
def test_without_these_rules_one_that_may_work_is_removed_at_once(rule: Rule) -> None:
    make = SCENES[rule]
    assert make().priced(2).lower_to is None
    with without(rule):
        assert make().priced(2).lower_to == 2


def test_every_rule_is_switched_off_somewhere() -> None:
    assert {*WALKS, *SCENES} == set(Rule)
