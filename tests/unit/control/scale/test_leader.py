"""Whether a leader replaces a drain annotation of a later epoch: a deposed leader must not, however sure it is."""

import pytest

from taskqueue_operator.control.drain_state import DrainState
from taskqueue_operator.control.scale.leader import TOKEN_REPLACEMENT_PERIOD, Leader
from tests.unit.control.fake_broker import START
from tests.unit.control.fake_cluster import KEY

EPOCH = 7


class Lease:
    """Counts how often it is read."""

    def __init__(self, *, names_leader: bool) -> None:
        self.names_leader = names_leader
        self.reads = 0

    async def confirm(self) -> bool:
        self.reads += 1
        return self.names_leader


async def test_an_annotation_of_a_later_epoch_is_replaced_at_most_once_a_minute() -> None:
    lease, drain = Lease(names_leader=True), DrainState()
    leader = Leader("default", EPOCH, lease.confirm)
    assert await leader.leads_beside(KEY, "9.1", drain, START)
    assert not await leader.leads_beside(KEY, "9.2", drain, START + TOKEN_REPLACEMENT_PERIOD / 2)
    assert await leader.leads_beside(KEY, "9.2", drain, START + TOKEN_REPLACEMENT_PERIOD)
    assert lease.reads == 2


async def test_a_leader_that_the_lease_no_longer_names_replaces_nothing() -> None:
    lease, drain = Lease(names_leader=False), DrainState()
    leader = Leader("default", EPOCH, lease.confirm)
    assert not await leader.leads_beside(KEY, "9.1", drain, START)
    lease.names_leader = True
    assert await leader.leads_beside(KEY, "9.1", drain, START), "the refusal begins no pause"


@pytest.mark.parametrize("annotation", ["", "7.1", "6.9", "no token"])
async def test_another_annotation_needs_no_look_at_the_lease(annotation: str) -> None:
    lease = Lease(names_leader=True)
    assert not await Leader("default", EPOCH, lease.confirm).leads_beside(KEY, annotation, DrainState(), START)
    assert lease.reads == 0
