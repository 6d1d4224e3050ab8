"""What may be believed of a queue: an interval, or a doubt."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.scaling.reading import Doubt, Probe, Sweep, interval

from .given import at, sweeps

PROBE = Probe(at(0), 7)
SWEEPS = sweeps(9, 8, 7, 6)


def test_the_interval_reaches_from_the_probe_to_the_largest_of_the_last_twelve_seconds() -> None:
    reading = interval([PROBE], sweeps(99, 8, 9, 6, unacked=3), at(0))
    assert (reading.at_least, reading.at_most, reading.unacked, reading.doubt) == (7, 9, 3, None)


def test_a_probe_above_all_sweeps_is_the_upper_bound_too() -> None:
    assert interval([Probe(at(0), 500)], SWEEPS, at(0)).at_most == 500


@pytest.mark.parametrize(
    ("doubt", "probe", "seen"),
    [
        (Doubt.NO_SWEEP, PROBE, []),
        (Doubt.NO_SWEEP, PROBE, sweeps(0, 0, 0, 0, end=-10)),
        (Doubt.NO_SWEEP, PROBE, [*sweeps(0, 0, 0, end=-11), *sweeps(0)]),
        (Doubt.YOUNG, PROBE, sweeps(7)),
        (Doubt.YOUNG, PROBE, sweeps(7, 7, 7)),
        (Doubt.ABSENT, PROBE, [*SWEEPS[:2], Sweep(at(-5), present=False), SWEEPS[3]]),
        (Doubt.NOT_RUNNING, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], running=False)]),
        (Doubt.MINORITY, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], running=False, minority=True)]),
        (Doubt.NO_FIGURES, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], ready=None)]),
        (Doubt.NO_FIGURES, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], unacked=None)]),
        (Doubt.NO_PROBE, None, SWEEPS),
        (Doubt.NO_PROBE, Probe(at(-5), 7), SWEEPS),
        (Doubt.NO_PROBE, Probe(at(0), None, missing=True), SWEEPS),
    ],
)
def test_every_doubt_takes_the_upper_bound_away(doubt: Doubt, probe: Probe | None, seen: list[Sweep]) -> None:
    reading = interval([probe] if probe else [], seen, at(0))
    assert (reading.at_most, reading.doubt) == (None, doubt)


def test_every_doubt_has_its_example() -> None:
    (mark,) = test_every_doubt_takes_the_upper_bound_away.pytestmark  # type: ignore[attr-defined]  # set by pytest
    assert {example[0] for example in mark.args[1]} == set(Doubt)


def test_a_doubt_takes_nothing_from_the_lower_bound() -> None:
    assert interval([PROBE], [], at(0)).at_least == 7


@pytest.mark.parametrize(
    ("blind", "probe", "sweep"),
    [
        (True, None, SWEEPS[3]),
        (True, Probe(at(-5), 7), SWEEPS[3]),
        (True, Probe(at(0), None, missing=True), SWEEPS[3]),
        (True, Probe(at(0), 0), Sweep(at(0), present=False)),
        (True, Probe(at(0), 0), replace(SWEEPS[3], running=False)),
        (True, Probe(at(0), 0), replace(SWEEPS[3], running=False, minority=True)),
        (False, PROBE, replace(SWEEPS[3], running=False)),
        (False, Probe(at(0), 0), replace(SWEEPS[3], ready=None)),
        (False, Probe(at(0), 0), SWEEPS[3]),
    ],
)
def test_blind_is_who_has_no_figure_or_a_zero_without_a_leader(
    blind: bool,  # noqa: FBT001  what is expected
    probe: Probe | None,
    sweep: Sweep,
) -> None:
    assert interval([probe] if probe else [], [*SWEEPS[:3], sweep], at(0)).blind is blind


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ({"ready": 0, "unacked": 3}, {"ready": 600, "unacked": 0}, {"ready": 600, "unacked": 3}),
        ({"ready": 600}, {"ready": 0}, {"ready": 600}),
        ({"running": False}, {}, {"running": False}),
        ({}, {"running": False, "minority": True}, {"running": False, "minority": True}),
        ({"ready": None}, {"ready": 5}, {"ready": None}),
        ({"unacked": 5}, {"unacked": None}, {"unacked": None}),
    ],
)
def test_a_queue_that_two_nodes_claim_to_lead_is_what_is_worse_of_both(
    one: dict[str, Any], other: dict[str, Any], both: dict[str, Any]
) -> None:
    assert replace(SWEEPS[3], **one).beside(replace(SWEEPS[3], **other)) == replace(SWEEPS[3], **both)


def test_what_happened_before_the_horizon_is_forgiven() -> None:
    long_ago = [Sweep(at(-60), present=False), *sweeps(5, 5, 5, 5)]
    assert interval([PROBE], long_ago, at(0)).doubt is None


def test_a_silence_of_the_sweeps_must_be_followed_by_a_whole_horizon() -> None:
    """A broker that comes back answers for some seconds with figures from before."""
    seen = [*sweeps(0, 0, 0, 0, end=-40), *sweeps(0)]
    assert interval([PROBE], seen, at(0)).doubt is Doubt.NO_SWEEP
    assert interval([Probe(at(13), 7)], [*seen, *sweeps(0, 0, end=10)], at(13)).doubt is None


def test_sweeps_that_take_two_seconds_each_leave_no_doubt() -> None:
    """A doubt in every round would hold every worker for ever: it starts window and idle time anew."""
    slow = [Sweep(at(7 * n), present=True, running=True, ready=0, unacked=0) for n in range(6)]
    for now in range(35, 44):
        assert interval([Probe(at(now), 0)], slow, at(now)).doubt is None


@given(st.lists(st.integers(0, 100), min_size=4, max_size=8), st.integers(0, 100), st.integers(0, 5))
def test_the_bounds_never_cross(figures: list[int], ready: int, later: int) -> None:
    reading = interval([Probe(at(later), ready)], sweeps(*figures), at(later))
    assert reading.at_most is not None
    assert reading.at_least is not None
    assert reading.at_least <= reading.at_most


def test_invariant_2_messages_that_only_an_earlier_probe_saw_are_not_forgotten_when_the_leader_goes() -> None:
    probes = [Probe(at(-9), 40), Probe(at(-1), 0), Probe(at(0), 0)]
    assert interval(probes, sweeps(0, 0, 0, 0), at(0)).at_most == 40
