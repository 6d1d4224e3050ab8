"""How often topologies are read follows from their size and from what all readers need."""

from taskqueue_operator.control.observe.topology_shares import (
    LONGEST_TOPOLOGY_PERIOD_SECONDS,
    TOPOLOGY_PERIOD_SECONDS,
    TopologyShares,
)
from taskqueue_operator.resource import bounds

OBJECTS_OF_1000_TASKQUEUES = 6_000 + 7


def periods(shares: TopologyShares, readers: list[tuple[str, int]]) -> list[float]:
    for _ in range(2):  # the first readers do not know of the last ones
        found = [
            shares.period(number, namespace, objects=objects) for number, (namespace, objects) in enumerate(readers)
        ]
    return found


def test_a_vhost_of_1000_taskqueues_is_read_as_often_as_one_with_a_single_taskqueue() -> None:
    sizes = [13, OBJECTS_OF_1000_TASKQUEUES]
    assert set(periods(TopologyShares(), [("media", size) for size in sizes])) == {TOPOLOGY_PERIOD_SECONDS}


def test_the_listings_of_a_vhost_need_less_than_the_work_that_its_broker_may_cause() -> None:
    """With 200 bytes for each object, the sweep and the other requests have two thirds of it."""
    (period,) = periods(TopologyShares(), [("media", 27_000)])
    assert period == 20
    assert 27_000 * 200 / bounds.WORK_BYTES / period < bounds.PEER_WORK_PER_SECOND / 3


def test_a_very_large_vhost_is_read_every_30_s() -> None:
    assert periods(TopologyShares(), [("media", 500_000)]) == [LONGEST_TOPOLOGY_PERIOD_SECONDS]


def test_very_many_readers_of_one_namespace_read_less_often_and_do_not_slow_down_another() -> None:
    *many, other = periods(TopologyShares(), [*[("crowd", 13)] * 2000, ("other", 13)])
    assert set(many) == {LONGEST_TOPOLOGY_PERIOD_SECONDS}
    assert other == TOPOLOGY_PERIOD_SECONDS


def test_readers_that_ended_no_longer_count() -> None:
    shares = TopologyShares()
    periods(shares, [("media", 13)] * 200)
    assert shares.period(0, "media", objects=13) > TOPOLOGY_PERIOD_SECONDS
    for reader in range(1, 200):
        shares.forget(reader)
    assert shares.period(0, "media", objects=13) == TOPOLOGY_PERIOD_SECONDS
