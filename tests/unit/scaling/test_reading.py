"""Readings: an interval for the depth of the queue, or a doubt."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.scaling.reading import Doubt, Probe, Reading, Sweep

from .builders import at, sweeps

PROBE = Probe(at(0), 7)
SWEEPS = sweeps(9, 8, 7, 6)


def test_the_interval_is_bounded_by_the_last_probe_and_the_largest_sweep_of_twelve_seconds() -> None:
    reading = Reading.from_samples([PROBE], sweeps(99, 8, 9, 6, unacked=3), at(0))
    assert (reading.at_least, reading.at_most, reading.unacked, reading.doubt) == (7, 9, 3, None)


def test_a_probe_above_all_sweeps_is_also_the_upper_bound() -> None:
    assert Reading.from_samples([Probe(at(0), 500)], SWEEPS, at(0)).at_most == 500


@pytest.mark.parametrize(
    ("doubt", "probe", "recent_sweeps"),
    [
        (Doubt.NO_SWEEP, PROBE, []),
        (Doubt.NO_SWEEP, PROBE, sweeps(0, 0, 0, 0, end=-10)),
        (Doubt.NO_SWEEP, PROBE, [*sweeps(0, 0, 0, end=-11), *sweeps(0)]),
        (Doubt.HISTORY_TOO_SHORT, PROBE, sweeps(7)),
        (Doubt.HISTORY_TOO_SHORT, PROBE, sweeps(7, 7, 7)),
        (Doubt.ABSENT, PROBE, [*SWEEPS[:2], Sweep(at(-5), present=False), SWEEPS[3]]),
        (Doubt.NOT_RUNNING, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], running=False)]),
        (Doubt.MINORITY, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], running=False, minority=True)]),
        (Doubt.NO_FIGURES, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], ready=None)]),
        (Doubt.NO_FIGURES, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], unacked=None)]),
        (Doubt.NO_FIGURES, PROBE, [*SWEEPS[:3], replace(SWEEPS[3], deferred=None)]),
        (Doubt.NO_PROBE, None, SWEEPS),
        (Doubt.NO_PROBE, Probe(at(-5), 7), SWEEPS),
        (Doubt.NO_PROBE, Probe(at(0), None, missing=True), SWEEPS),
    ],
)
def test_every_doubt_removes_the_upper_bound(doubt: Doubt, probe: Probe | None, recent_sweeps: list[Sweep]) -> None:
    reading = Reading.from_samples([probe] if probe else [], recent_sweeps, at(0))
    assert (reading.at_most, reading.doubt) == (None, doubt)


def test_every_doubt_has_an_example() -> None:
    (mark,) = test_every_doubt_removes_the_upper_bound.pytestmark  # type: ignore[attr-defined]  # set by pytest
    assert {example[0] for example in mark.args[1]} == set(Doubt)


def test_a_doubt_does_not_change_the_lower_bound() -> None:
    assert Reading.from_samples([PROBE], [], at(0)).at_least == 7


@pytest.mark.parametrize(
    ("unreadable", "probe", "sweep"),
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
def test_a_queue_is_unreadable_without_a_figure_or_with_zero_and_no_leader(
    unreadable: bool,  # noqa: FBT001  what is expected
    probe: Probe | None,
    sweep: Sweep,
) -> None:
    assert Reading.from_samples([probe] if probe else [], [*SWEEPS[:3], sweep], at(0)).unreadable is unreadable


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ({"ready": 0, "unacked": 3}, {"ready": 600, "unacked": 0}, {"ready": 600, "unacked": 3}),
        ({"ready": 600}, {"ready": 0}, {"ready": 600}),
        ({"running": False}, {}, {"running": False}),
        ({}, {"running": False, "minority": True}, {"running": False, "minority": True}),
        ({"ready": None}, {"ready": 5}, {"ready": None}),
        ({"unacked": 5}, {"unacked": None}, {"unacked": None}),
    ],
)
def test_two_entries_of_a_queue_merge_into_the_worse_values(
    first: dict[str, Any], second: dict[str, Any], merged: dict[str, Any]
) -> None:
    assert replace(SWEEPS[3], **first).merge_worst(replace(SWEEPS[3], **second)) == replace(SWEEPS[3], **merged)


def test_a_sweep_before_the_window_causes_no_doubt() -> None:
    long_ago = [Sweep(at(-60), present=False), *sweeps(5, 5, 5, 5)]
    assert Reading.from_samples([PROBE], long_ago, at(0)).doubt is None


def test_after_a_gap_sweeps_must_cover_a_whole_window_again() -> None:
    """A broker that restarts answers with outdated figures for some seconds."""
    with_gap = [*sweeps(0, 0, 0, 0, end=-40), *sweeps(0)]
    assert Reading.from_samples([PROBE], with_gap, at(0)).doubt is Doubt.NO_SWEEP
    assert Reading.from_samples([Probe(at(13), 7)], [*with_gap, *sweeps(0, 0, end=10)], at(13)).doubt is None


def test_sweeps_that_take_two_seconds_each_cause_no_doubt() -> None:
    """A doubt in every round would prevent scale-in forever, as it restarts the window and the idle time."""
    slow = [Sweep(at(7 * n), present=True, running=True, ready=0, unacked=0) for n in range(6)]
    for now in range(35, 44):
        assert Reading.from_samples([Probe(at(now), 0)], slow, at(now)).doubt is None


@given(st.lists(st.integers(0, 100), min_size=4, max_size=8), st.integers(0, 100), st.integers(0, 5))
def test_the_lower_bound_never_exceeds_the_upper_bound(figures: list[int], ready: int, later: int) -> None:
    reading = Reading.from_samples([Probe(at(later), ready)], sweeps(*figures), at(later))
    assert reading.at_most is not None
    assert reading.at_least is not None
    assert reading.at_least <= reading.at_most


def test_invariant_2_messages_that_only_an_earlier_probe_counted_are_part_of_the_upper_bound() -> None:
    probes = [Probe(at(-9), 40), Probe(at(-1), 0), Probe(at(0), 0)]
    assert Reading.from_samples(probes, sweeps(0, 0, 0, 0), at(0)).at_most == 40


@pytest.mark.parametrize("state", ["ready", "unacked", "deferred"])
def test_a_queue_is_empty_only_without_messages_in_any_state(state: str) -> None:
    empty = sweeps(0, 0, 0, 0)
    assert Reading.from_samples([Probe(at(0), 0)], empty, at(0)).is_empty

    one: dict[str, Any] = {state: 1}
    recent = [*empty[:3], replace(empty[3], **one)]

    assert not recent[3].is_empty
    assert not Reading.from_samples([Probe(at(0), 0)], recent, at(0)).is_empty


def test_held_messages_are_those_of_the_last_sweep_before_the_probe() -> None:
    """By a later sweep, messages that were delivered after the probe would count twice."""
    recent = [replace(sweep, unacked=unacked) for sweep, unacked in zip(SWEEPS, (9, 9, 2, 8), strict=True)]
    reading = Reading.from_samples([Probe(at(-1), 7)], recent, at(0))
    assert (reading.held_at_least, reading.unacked) == (2, 9)
    assert Reading.from_samples([], recent, at(0)).held_at_least is None


READINGS = st.builds(
    Reading.from_samples,
    st.lists(st.builds(Probe, st.integers(-9, 0).map(at), st.integers(0, 3)), max_size=1),
    st.sampled_from([sweeps(), sweeps(0), sweeps(0, 0, 0, 0), sweeps(3, 1, 2, 0), sweeps(0, 0, 0, 0, unacked=2)]),
    st.just(at(0)),
)


@given(READINGS, READINGS)
def test_the_reading_of_two_queues_is_certain_only_as_far_as_both_are(one: Reading, other: Reading) -> None:
    both = one + other

    assert both.is_empty == (one.is_empty and other.is_empty)
    assert (both.at_most is None) == (one.at_most is None or other.at_most is None)
    assert both.at_most is None or both.at_most == (one.at_most or 0) + (other.at_most or 0)
    assert both.at_least is None or both.at_least == (one.at_least or 0) + (other.at_least or 0)
    assert (both.doubt is None) == (one.doubt is None and other.doubt is None)
    assert both == other + one


def test_the_messages_of_one_queue_scale_out_while_the_other_cannot_be_read() -> None:
    unread = Reading.from_samples([], [], at(0))

    both = Reading.from_samples([PROBE], SWEEPS, at(0)) + unread

    assert (both.at_least, both.at_most, both.doubt) == (7, None, Doubt.NO_SWEEP)
