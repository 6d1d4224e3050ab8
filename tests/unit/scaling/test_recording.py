"""What was recorded can be read and decided again, with the same outcome."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from math import cos, pi
from random import Random

import pytest

from taskqueue_operator.resource.behavior import PolicyType
from taskqueue_operator.resource.scaling import FallbackBehavior
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import DecisionReason, Workers
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Fallback, Policy, Rate, Rules
from taskqueue_operator.scaling.reading import Doubt, Reading
from taskqueue_operator.scaling.recording import Recording, read, write
from taskqueue_operator.scaling.schedule import Schedule

from .given import at
from .golden import GOLDEN

TICK = 30
POLICY = Policy(
    30,
    ready_per_replica=50,
    idle=timedelta(minutes=5),
    scale_up=Rules(rates=(Rate(PolicyType.PODS, 8, timedelta(minutes=2)),)),
    scale_down=Rules(window=timedelta(minutes=5), rates=(Rate(PolicyType.PERCENT, 20, timedelta(minutes=1)),)),
    schedules=(Schedule("office", "Europe/Paris", "0 8 * * 1-5", "0 18 * * 1-5", 4),),
    fallback=Fallback(timedelta(minutes=10), 10, FallbackBehavior.AT_LEAST),
)


def day() -> list[Recording]:
    """A day: quiet at night, a peak at noon, an hour without a broker, a restart in the evening."""
    dice, memory, replicas, made = Random(1), Memory(), 0, []
    for now in range(0, 86_400, TICK):
        hour = now / 3600
        ready = 0 if hour < 9 else int(dice.uniform(0, 1) * 1000 * (1 - cos(hour * pi / 12)))
        reading = Reading(at(now), ready, ready + dice.choice((0, 30)), min(ready, replicas))
        if 14 <= hour < 15:
            reading = Reading(at(now), None, None, None, Doubt.NO_PROBE)
        if now == 20 * 3600:
            memory = Memory()
        decision = decide(reading, Workers(replicas, replicas), POLICY, memory, at(now))
        made.append(Recording(at(now), reading, Workers(replicas, replicas), POLICY, memory, decision))
        memory, replicas = decision.memory, decision.desired
    return made


def test_a_day_is_replayed_from_its_recording() -> None:
    made = day()
    again = read(write(made))
    assert again == tuple(made)
    assert [each.replay() for each in again] == [each.decision for each in made]
    assert len({each.decision.desired for each in made}) > 10, "a day on which something happens"
    assert {
        DecisionReason.FALLBACK,
        DecisionReason.IDLE,
        DecisionReason.MIN_REPLICAS,
        DecisionReason.SCALE_UP_LIMIT,
    } < {each.decision.why for each in made}


def test_a_recording_needs_nothing_but_itself() -> None:
    """Each decision's memory is where the next one begins: the readings alone lead to the same numbers."""
    again = read(write(day()))
    starts = [each for each in again if each.memory == Memory()]
    assert len(starts) == 2
    for earlier, later in pairwise(again):
        assert later.memory in (earlier.decision.memory, Memory())
        assert later.workers.replicas == earlier.decision.desired


def test_a_decision_that_was_tampered_with_is_found() -> None:
    """The replay really decides."""
    one = read(write(day()[1000:1001]))[0]
    other = replace(one, decision=replace(one.decision, desired=one.decision.desired + 1))
    assert read(write([other]))[0].replay() == one.decision != other.decision


def test_recordings_of_earlier_versions_still_lead_to_the_same_decisions() -> None:
    """If this fails, decisions or their form have changed: say so in the changelog, and write the file anew."""
    golden = read(GOLDEN.read_bytes())
    assert {each.decision.why for each in golden} == set(DecisionReason)
    for each in golden:
        assert each.replay() == each.decision
    assert write(golden) + b"\n" == GOLDEN.read_bytes()


@pytest.mark.parametrize("document", [b"", b"{}", b"[{}]", b'[{"at": 1}]', b"[1]"])
def test_what_is_no_recording_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read(document)


def test_no_recordings_are_an_empty_list() -> None:
    assert read(write([])) == ()
