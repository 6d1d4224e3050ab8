"""The probe period of queues at zero follows from what all readers of a host and of the process need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.control.observe.probe_shares import ZERO_PROBE_PERIOD_SECONDS, ProbeShares
from taskqueue_operator.control.observe.rounds import batch_count
from taskqueue_operator.resource import bounds

HOSTS = st.integers(0, 30).map(lambda number: f"host-{number}")
NAMESPACES = st.sampled_from(["a", "b", "c"])


def periods(shares: ProbeShares, readers: list[tuple[str, str, int]]) -> list[float]:
    for _ in range(2):  # the first readers do not know of the last ones
        found = [
            shares.period(number, host, namespace, queues=queues)
            for number, (host, namespace, queues) in enumerate(readers)
        ]
    return found


def test_one_reader_with_1000_queues_probes_as_often_as_one_with_a_single_queue() -> None:
    assert periods(ProbeShares(), [("broker:5672", "media", 1000)]) == [ZERO_PROBE_PERIOD_SECONDS]


def test_readers_of_one_host_share_its_budget() -> None:
    found = periods(ProbeShares(), [("broker:5672", "media", 80)] * 100)
    assert set(found) == {8000 / bounds.ZERO_PROBES_PER_SECOND}


@pytest.mark.parametrize("host", ["{}", "broker:5672"], ids=["hosts of their own", "one host"])
def test_a_namespace_with_many_readers_does_not_slow_down_the_others(host: str) -> None:
    crowd = [(host.format(number % 100), "crowd", 5) for number in range(2000)]
    *many, single = periods(ProbeShares(), [*crowd, (host.format("other"), "other", 1)])
    assert len(set(many)) == 1
    assert many[0] > single == ZERO_PROBE_PERIOD_SECONDS


def test_readers_that_ended_no_longer_count() -> None:
    shares = ProbeShares()
    periods(shares, [("broker:5672", "media", 80)] * 100)
    for reader in range(1, 400):
        shares.forget(reader)
    assert shares.period(0, "broker:5672", "media", queues=20) == ZERO_PROBE_PERIOD_SECONDS


@given(st.lists(st.tuples(HOSTS, NAMESPACES, st.integers(0, 20_000)), max_size=60))
def test_the_budgets_hold_for_any_readers(readers: list[tuple[str, str, int]]) -> None:
    found = periods(ProbeShares(), readers)
    for host in {host for host, *_ in readers}:
        questions = sum(queues / period for (at, _, queues), period in zip(readers, found, strict=True) if at == host)
        assert questions <= bounds.ZERO_PROBES_PER_SECOND * 1.001
    work = sum(
        (queues + batch_count(queues, ZERO_PROBE_PERIOD_SECONDS) * bounds.PROBE_BATCH_WORK) / period
        for (*_, queues), period in zip(readers, found, strict=True)
    )
    assert work <= bounds.PROBE_WORK_PER_SECOND * 1.001
