"""Who is seen to be idle: whoever cannot be told is not."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.drain.consumers import Activity, Connection, ConsumerSnapshot, IdleEvidence, address, evidence
from taskqueue_operator.workers.api_objects import Pod

from .stage import START, pod

QUEUE = "celery"
A, B = pod("a", addresses=("10.0.0.1",)), pod("b", addresses=("10.0.0.2",))


def connection(*marks: str, unacked: int | None = 0, **acknowledges: bool) -> Connection:
    return Connection(frozenset(marks), acknowledges or {QUEUE: True}, unacked)


def look(*connections: Connection, at: float = 0) -> ConsumerSnapshot:
    return ConsumerSnapshot(START + timedelta(seconds=at), connections)


def sight(pod: Pod, *connections: Connection) -> Activity:
    return look(*connections).sights(QUEUE, [A, B])[pod.uid]


def test_a_pod_is_found_by_its_address() -> None:
    assert sight(A, connection("10.0.0.1")) is Activity.IDLE
    assert sight(B, connection("10.0.0.1")) is Activity.UNKNOWN


def test_or_by_its_name_as_a_word_of_the_connections() -> None:
    assert sight(A, connection("192.0.2.1", "celery", "a")) is Activity.IDLE


def test_a_pod_on_the_network_of_its_node_is_found_by_its_name_alone() -> None:
    host = replace(A, addresses=())
    there = look(connection("10.0.0.1"))
    assert there.sights(QUEUE, [host]) == {"a": Activity.UNKNOWN}
    assert look(connection("10.0.0.1", "a")).sights(QUEUE, [host]) == {"a": Activity.IDLE}


@pytest.mark.parametrize("written", ["fd00::1", "fd00:0:0:0:0:0:0:1", "FD00::1"])
def test_an_address_may_be_written_in_several_ways(written: str) -> None:
    assert address(written) == "fd00::1"
    six = replace(A, addresses=("fd00::1",))
    assert look(connection(address(written))).sights(QUEUE, [six]) == {"a": Activity.IDLE}


def test_an_address_of_the_old_kind_may_look_like_one_of_the_new() -> None:
    assert address("::ffff:10.0.0.1") == "10.0.0.1"
    assert address("unix") == "unix"


def test_who_does_not_consume_the_queue_is_unknown() -> None:
    assert sight(A) is Activity.UNKNOWN
    assert sight(A, connection("10.0.0.1", other=True)) is Activity.UNKNOWN


def test_who_does_not_acknowledge_is_never_idle() -> None:
    assert sight(A, connection("10.0.0.1", celery=False)) is Activity.UNKNOWN
    assert sight(A, connection("10.0.0.1"), connection("10.0.0.1", celery=False)) is Activity.UNKNOWN


def test_what_else_it_consumes_may_go_without_acknowledgements() -> None:
    """Celery gets its remote control like that."""
    assert sight(A, connection("10.0.0.1", celery=True, pidbox=False)) is Activity.IDLE


def test_a_message_on_any_of_its_connections_makes_it_busy() -> None:
    assert sight(A, connection("10.0.0.1", unacked=1)) is Activity.BUSY
    assert sight(A, connection("10.0.0.1"), connection("10.0.0.1", other=True, unacked=1)) is Activity.BUSY
    assert sight(A, connection("10.0.0.1"), connection("10.0.0.2", unacked=1)) is Activity.IDLE


def test_a_figure_that_is_missing_is_not_zero() -> None:
    assert sight(A, connection("10.0.0.1", unacked=None)) is Activity.UNKNOWN
    assert sight(A, connection("10.0.0.1"), connection("10.0.0.1", unacked=None)) is Activity.UNKNOWN
    assert sight(A, connection("10.0.0.1", unacked=1), connection("10.0.0.1", unacked=None)) is Activity.BUSY


def test_a_connection_that_may_be_of_two_pods_shows_neither_and_what_it_holds_may_be_of_both() -> None:
    assert {sight(pod, connection("10.0.0.1", "b")) for pod in (A, B)} == {Activity.UNKNOWN}
    own = connection("10.0.0.1"), connection("10.0.0.2")
    assert {sight(pod, *own, connection("10.0.0.1", "b")) for pod in (A, B)} == {Activity.IDLE}
    assert {sight(pod, *own, connection("10.0.0.1", "b", unacked=1)) for pod in (A, B)} == {Activity.BUSY}


class TestTwoLooks:
    idle = connection("10.0.0.1")
    busy = connection("10.0.0.1", unacked=1)

    def seen(self, *looks: ConsumerSnapshot, at: float = 7) -> IdleEvidence:
        return evidence(looks, QUEUE, [A], START + timedelta(seconds=at))

    def test_both_have_to_show_it_idle(self) -> None:
        assert self.seen(look(self.idle), look(self.idle, at=7)).idle_since == {"a": START}
        assert self.seen(look(self.busy), look(self.idle, at=7)).idle_since == {}
        assert self.seen(look(self.idle), look(self.busy, at=7)).idle_since == {}

    def test_they_have_to_be_more_apart_than_figures_are_old(self) -> None:
        assert self.seen(look(self.idle), look(self.idle, at=5.9)).idle_since == {}
        assert self.seen(look(self.idle)).idle_since == {}
        assert self.seen().idle_since == {}

    def test_the_last_has_to_be_of_the_present(self) -> None:
        looks = look(self.idle), look(self.idle, at=7)
        assert self.seen(*looks, at=10).idle_since == {"a": START}
        assert self.seen(*looks, at=10.1).idle_since == {}

    def test_who_is_unknown_to_both_is_named_for_as_long_as_nothing_else_is_seen(self) -> None:
        assert self.seen(look(), look(at=7), at=14).unknown == {"a"}
        assert self.seen(look(), look(self.busy, at=7)).unknown == set()
        assert self.seen(look(self.busy), look(at=7)).unknown == set()
        assert self.seen(look()).unknown == set()


PODS = [pod(name, addresses=(f"10.0.0.{number}",)) for number, name in enumerate("abcd")]
MARKS = [mark for each in PODS for mark in (each.key.name, *each.addresses)]


@st.composite
def connections(draw: st.DrawFn) -> list[Connection]:
    one = st.builds(
        Connection,
        st.frozensets(st.sampled_from(MARKS), max_size=2),
        st.dictionaries(st.sampled_from([QUEUE, "other"]), st.booleans()),
        st.sampled_from([0, 0, 0, 1, None]),
    )
    return draw(st.lists(one, min_size=1, max_size=8))


def idle(there: list[Connection]) -> set[str]:
    return {uid for uid, sight in look(*there).sights(QUEUE, PODS).items() if sight is Activity.IDLE}


def at(there: list[Connection], place: int, changed: Connection) -> list[Connection]:
    return [*there[:place], changed, *there[place + 1 :]]


@given(connections(), st.integers(0, 7), st.sampled_from([1, None]))
def test_one_message_more_never_makes_one_more_idle(there: list[Connection], place: int, held: int | None) -> None:
    place %= len(there)
    assert idle(at(there, place, replace(there[place], unacked=held))) <= idle(there)


@given(connections(), st.integers(0, 7), st.sampled_from(MARKS))
def test_whose_a_connection_is_being_less_certain_never_makes_one_more_idle(
    there: list[Connection], place: int, mark: str
) -> None:
    place %= len(there)
    before = there[place]
    if before.marks:
        assert idle(at(there, place, replace(before, marks=before.marks | {mark}))) <= idle(there)
