"""Idleness by the broker's view of consumers: unknown is not idle."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.drain.consumers import (
    Activity,
    Connection,
    ConsumerSnapshot,
    IdleEvidence,
    consuming_after_sigterm,
    idle_evidence,
    normalize_address,
    other_queues,
)
from taskqueue_operator.workers.api_objects import Pod

from .builders import START, pod

QUEUE = "celery"
A, B = pod("a", addresses=("10.0.0.1",)), pod("b", addresses=("10.0.0.2",))


def connection(*identifiers: str, unacked: int | None = 0, **acknowledges: bool) -> Connection:
    return Connection(frozenset(identifiers), acknowledges or {QUEUE: True}, unacked)


def snapshot(*connections: Connection, at: float = 0) -> ConsumerSnapshot:
    return ConsumerSnapshot(START + timedelta(seconds=at), connections)


def activity(pod: Pod, *connections: Connection) -> Activity:
    return snapshot(*connections).activities((QUEUE,), [A, B])[pod.uid]


def test_a_pod_is_identified_by_its_address() -> None:
    assert activity(A, connection("10.0.0.1")) is Activity.IDLE
    assert activity(B, connection("10.0.0.1")) is Activity.UNKNOWN


def test_a_pod_is_identified_by_its_name_as_a_word_of_the_connection_name() -> None:
    assert activity(A, connection("192.0.2.1", "celery", "a")) is Activity.IDLE


def test_a_pod_on_the_host_network_is_identified_by_its_name_alone() -> None:
    host = replace(A, addresses=())
    by_address = snapshot(connection("10.0.0.1"))
    assert by_address.activities((QUEUE,), [host]) == {"a": Activity.UNKNOWN}
    assert snapshot(connection("10.0.0.1", "a")).activities((QUEUE,), [host]) == {"a": Activity.IDLE}


@pytest.mark.parametrize("written", ["fd00::1", "fd00:0:0:0:0:0:0:1", "FD00::1"])
def test_ipv6_addresses_are_normalized(written: str) -> None:
    assert normalize_address(written) == "fd00::1"
    six = replace(A, addresses=("fd00::1",))
    assert snapshot(connection(normalize_address(written))).activities((QUEUE,), [six]) == {"a": Activity.IDLE}


def test_an_ipv4_address_mapped_to_ipv6_is_normalized() -> None:
    assert normalize_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert normalize_address("unix") == "unix"


def test_a_pod_that_does_not_consume_the_queue_is_unknown() -> None:
    assert activity(A) is Activity.UNKNOWN
    assert activity(A, connection("10.0.0.1", other=True)) is Activity.UNKNOWN


def test_a_pod_that_does_not_consume_all_of_its_queues_is_unknown() -> None:
    """Its connection with the other queue may be one that is not recognized, and hold messages."""
    both = ("celery", "mails")
    one, other = connection("10.0.0.1", celery=True), connection("10.0.0.1", mails=True)
    assert snapshot(one).activities(both, [A]) == {"a": Activity.UNKNOWN}
    assert snapshot(one, other).activities(both, [A]) == {"a": Activity.IDLE}
    assert snapshot(one, replace(other, unacked=1)).activities(both, [A]) == {"a": Activity.BUSY}
    assert snapshot(one, connection("10.0.0.1", mails=False)).activities(both, [A]) == {"a": Activity.UNKNOWN}
    assert snapshot(connection("10.0.0.1", celery=True, mails=True)).activities(both, [A]) == {"a": Activity.IDLE}


def test_queues_that_belong_together_are_no_other_queues_for_each_other() -> None:
    consumed = dict.fromkeys(("celery", "celery.DQ", "mails", "mails.DQ", "videos"), True)
    found = snapshot(connection("10.0.0.1", **consumed))
    assert other_queues(found, ("celery", "mails"), [A]) == ("videos",)
    late = {"a": START - timedelta(seconds=60)}
    assert consuming_after_sigterm(found, ("gone", "mails"), [A], late) == {"a": Activity.UNKNOWN}


def test_a_pod_that_does_not_acknowledge_is_never_idle() -> None:
    assert activity(A, connection("10.0.0.1", celery=False)) is Activity.UNKNOWN
    assert activity(A, connection("10.0.0.1"), connection("10.0.0.1", celery=False)) is Activity.UNKNOWN


def test_other_queues_may_be_consumed_without_acknowledgements() -> None:
    """Celery consumes its remote control queue like that."""
    assert activity(A, connection("10.0.0.1", celery=True, pidbox=False)) is Activity.IDLE


def test_an_unacknowledged_message_on_any_connection_of_a_pod_makes_it_busy() -> None:
    assert activity(A, connection("10.0.0.1", unacked=1)) is Activity.BUSY
    assert activity(A, connection("10.0.0.1"), connection("10.0.0.1", other=True, unacked=1)) is Activity.BUSY
    assert activity(A, connection("10.0.0.1"), connection("10.0.0.2", unacked=1)) is Activity.IDLE


def test_a_missing_figure_is_not_zero() -> None:
    assert activity(A, connection("10.0.0.1", unacked=None)) is Activity.UNKNOWN
    assert activity(A, connection("10.0.0.1"), connection("10.0.0.1", unacked=None)) is Activity.UNKNOWN
    assert activity(A, connection("10.0.0.1", unacked=1), connection("10.0.0.1", unacked=None)) is Activity.BUSY


def test_a_connection_of_two_possible_pods_proves_neither_idle_and_its_messages_count_for_both() -> None:
    assert {activity(pod, connection("10.0.0.1", "b")) for pod in (A, B)} == {Activity.UNKNOWN}
    own = connection("10.0.0.1"), connection("10.0.0.2")
    assert {activity(pod, *own, connection("10.0.0.1", "b")) for pod in (A, B)} == {Activity.IDLE}
    assert {activity(pod, *own, connection("10.0.0.1", "b", unacked=1)) for pod in (A, B)} == {Activity.BUSY}
    assert {activity(pod, *own, connection("10.0.0.1", "b", celery=False)) for pod in (A, B)} == {Activity.UNKNOWN}


class TestIdleEvidence:
    idle = connection("10.0.0.1")
    busy = connection("10.0.0.1", unacked=1)

    def evidence(self, *snapshots: ConsumerSnapshot, at: float = 7) -> IdleEvidence:
        return idle_evidence(snapshots, (QUEUE,), [A], START + timedelta(seconds=at))

    def test_a_pod_is_idle_only_if_both_snapshots_show_it_idle(self) -> None:
        assert self.evidence(snapshot(self.idle), snapshot(self.idle, at=7)).idle_since == {"a": START}
        assert self.evidence(snapshot(self.busy), snapshot(self.idle, at=7)).idle_since == {}
        assert self.evidence(snapshot(self.idle), snapshot(self.busy, at=7)).idle_since == {}

    def test_snapshots_are_further_apart_than_the_age_of_figures(self) -> None:
        assert self.evidence(snapshot(self.idle), snapshot(self.idle, at=5.9)).idle_since == {}
        assert self.evidence(snapshot(self.idle)).idle_since == {}
        assert self.evidence().idle_since == {}

    def test_the_last_snapshot_has_to_be_recent(self) -> None:
        snapshots = snapshot(self.idle), snapshot(self.idle, at=7)
        assert self.evidence(*snapshots, at=10).idle_since == {"a": START}
        assert self.evidence(*snapshots, at=10.1).idle_since == {}

    def test_a_pod_is_unknown_only_if_it_is_in_both_snapshots(self) -> None:
        assert self.evidence(snapshot(), snapshot(at=7), at=14).unknown == {"a"}
        assert self.evidence(snapshot(), snapshot(self.busy, at=7)).unknown == set()
        assert self.evidence(snapshot(self.busy), snapshot(at=7)).unknown == set()
        assert self.evidence(snapshot()).unknown == set()


PODS = [pod(name, addresses=(f"10.0.0.{number}",)) for number, name in enumerate("abcd")]
IDENTIFIERS = [identifier for pod in PODS for identifier in (pod.key.name, *pod.addresses)]


@st.composite
def connections(draw: st.DrawFn) -> list[Connection]:
    connection = st.builds(
        Connection,
        st.frozensets(st.sampled_from(IDENTIFIERS), max_size=2),
        st.dictionaries(st.sampled_from([QUEUE, "other"]), st.booleans()),
        st.sampled_from([0, 0, 0, 1, None]),
    )
    return draw(st.lists(connection, min_size=1, max_size=8))


def idle(connections: list[Connection]) -> set[str]:
    return {
        uid for uid, activity in snapshot(*connections).activities((QUEUE,), PODS).items() if activity is Activity.IDLE
    }


def replaced(present: list[Connection], index: int, changed: Connection) -> list[Connection]:
    return [*present[:index], changed, *present[index + 1 :]]


@pytest.mark.slow
@given(connections(), st.integers(0, 7), st.sampled_from([1, None]))
def test_another_held_message_never_makes_another_pod_idle(
    present: list[Connection], index: int, held: int | None
) -> None:
    index %= len(present)
    assert idle(replaced(present, index, replace(present[index], unacked=held))) <= idle(present)


@pytest.mark.slow
@given(connections(), st.integers(0, 7), st.sampled_from(IDENTIFIERS))
def test_another_identifier_of_a_connection_never_makes_another_pod_idle(
    present: list[Connection], index: int, identifier: str
) -> None:
    index %= len(present)
    before = present[index]
    if before.identifiers:
        assert idle(replaced(present, index, replace(before, identifiers=before.identifiers | {identifier}))) <= idle(
            present
        )
