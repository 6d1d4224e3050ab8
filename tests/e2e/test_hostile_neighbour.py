"""Bad TaskQueues of one tenant beside a good one of another."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster_broker import ClusterBroker
from tests.e2e.hostile_neighbour import HostileNeighbour
from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Tenant


@pytest.fixture
def neighbour(broker: ClusterBroker) -> Iterator[HostileNeighbour]:
    neighbour = HostileNeighbour(broker)
    try:
        neighbour.set_up()
        yield neighbour
    finally:
        neighbour.tear_down()


def test_bad_taskqueues_cost_only_themselves(
    tenant: Tenant, neighbour: HostileNeighbour, operator: InstalledOperator
) -> None:
    restarts = operator.restarts()
    tenant.apply()
    tenant.until_ready()
    task = tenant.publish(1, seconds=0)
    tenant.until(lambda: tenant.receipts("done") == dict.fromkeys(task, 1), "a new TaskQueue runs its task")
    assert neighbour.until_all_are_reported() >= 50
    tenant.until_scaled_to_zero()
    task += tenant.publish(1, seconds=0)
    tenant.until(lambda: tenant.receipts("done") == dict.fromkeys(task, 1), "it wakes from zero")
    assert operator.restarts() == restarts
