"""Recordings are parsed from JSON and replayed with the same decisions."""

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
from taskqueue_operator.scaling.recording import Recording, from_json, to_json
from taskqueue_operator.scaling.schedule import Schedule

from .builders import at
from .golden import GOLDEN, without_explanation

PERIOD_SECONDS = 30
POLICY = Policy(
    30,
    ready_per_replica=50,
    idle=timedelta(minutes=5),
    scale_up=Rules(rates=(Rate(PolicyType.PODS, 8, timedelta(minutes=2)),)),
    scale_down=Rules(window=timedelta(minutes=5), rates=(Rate(PolicyType.PERCENT, 20, timedelta(minutes=1)),)),
    schedules=(Schedule("office", "Europe/Paris", "0 8 * * 1-5", "0 18 * * 1-5", 4),),
    fallback=Fallback(timedelta(minutes=10), 10, FallbackBehavior.AT_LEAST),
)


def recorded_day() -> list[Recording]:
    """Record a day: idle at night, a peak at noon, an hour without a broker, a restart in the evening."""
    random, memory, replicas, recordings = Random(1), Memory(), 0, []
    for now in range(0, 86_400, PERIOD_SECONDS):
        hour = now / 3600
        ready = 0 if hour < 9 else int(random.uniform(0, 1) * 1000 * (1 - cos(hour * pi / 12)))
        reading = Reading(at(now), ready, ready + random.choice((0, 30)), min(ready, replicas))
        if 14 <= hour < 15:
            reading = Reading(at(now), None, None, None, Doubt.NO_PROBE)
        if now == 20 * 3600:
            memory = Memory()
        decision = decide(reading, Workers(replicas, replicas), POLICY, memory, at(now))
        recordings.append(Recording(at(now), reading, Workers(replicas, replicas), POLICY, memory, decision))
        memory, replicas = decision.memory, decision.desired
    return recordings


@pytest.mark.slow
def test_a_recorded_day_is_replayed_with_the_same_decisions() -> None:
    recordings = recorded_day()
    parsed = from_json(to_json(recordings))
    assert parsed == tuple(recordings)
    assert [recording.replay() for recording in parsed] == [recording.decision for recording in recordings]
    assert len({recording.decision.desired for recording in recordings}) > 10, "the day has many different decisions"
    assert {
        DecisionReason.FALLBACK,
        DecisionReason.IDLE,
        DecisionReason.MIN_REPLICAS,
        DecisionReason.SCALE_UP_LIMIT,
    } < {recording.decision.reason for recording in recordings}


@pytest.mark.slow
def test_each_recording_continues_the_previous_one() -> None:
    """The memory of a decision is the memory of the next recording: readings alone determine the numbers."""
    parsed = from_json(to_json(recorded_day()))
    starts = [recording for recording in parsed if recording.memory == Memory()]
    assert len(starts) == 2
    for earlier, later in pairwise(parsed):
        assert later.memory in (earlier.decision.memory, Memory())
        assert later.workers.replicas == earlier.decision.desired


@pytest.mark.slow
def test_a_replay_finds_a_modified_decision() -> None:
    original = from_json(to_json(recorded_day()[1000:1001]))[0]
    modified = replace(original, decision=replace(original.decision, desired=original.decision.desired + 1))
    assert from_json(to_json([modified]))[0].replay() == original.decision != modified.decision


def test_recordings_of_earlier_versions_lead_to_the_same_decisions() -> None:
    """If this fails, decisions or their JSON format have changed: write a changelog entry and renew the file."""
    golden = from_json(GOLDEN.read_bytes())
    assert {recording.decision.reason for recording in golden} == set(DecisionReason)
    for recording in golden:
        assert without_explanation(recording.replay()) == recording.decision
    assert to_json(golden) + b"\n" == GOLDEN.read_bytes()


@pytest.mark.parametrize("document", [b"", b"{}", b"[{}]", b'[{"at": 1}]', b"[1]"])
def test_a_document_that_is_no_recording_raises_an_error(document: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        from_json(document)


def test_an_empty_list_of_recordings_is_valid() -> None:
    assert from_json(to_json([])) == ()
