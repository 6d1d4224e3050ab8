"""With `delayedDelivery: Celery`, tasks that Celery delays reach the queue, also while it is being deleted."""

from dataclasses import replace

import pytest

from taskqueue_operator.resource.names import CELERY_DELIVERY, CELERY_LEVELS, PARKING
from taskqueue_operator.topology.diff import Remove
from taskqueue_operator.topology.objects import Binding
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_cluster import KEY

from .deletion_outcome import is_deleted

pytestmark = pytest.mark.looptime

CELERY: dict[str, object] = {"delayedDelivery": "Celery"}
BINDING = Binding(CELERY_DELIVERY, KEY.name, to_queue=True, routing_key="*." * 28 + KEY.name)


@pytest.mark.parametrize("protocol", ["TaskQueue", "Plain"])
async def test_what_delays_tasks_is_declared_and_repaired_for_workers_of_both_protocols(
    harness: ControlHarness, protocol: str
) -> None:
    await harness.apply(queue=CELERY, worker={"image": "acme/celery:1", "protocol": protocol})
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    assert {*CELERY_LEVELS, PARKING} <= harness.broker.topology_.queues.keys()
    assert BINDING in harness.broker.topology_.bindings
    await harness.broker.apply([Remove(BINDING), Remove(harness.broker.topology_.queues[CELERY_LEVELS[3]])])
    await harness.settle(60)
    assert BINDING in harness.broker.topology_.bindings
    assert CELERY_LEVELS[3] in harness.broker.topology_.queues


async def test_nothing_of_it_is_declared_unless_the_spec_asks_for_it(harness: ControlHarness) -> None:
    await harness.apply()
    assert CELERY_DELIVERY not in harness.broker.topology_.exchanges


async def test_a_deletion_does_not_wait_for_delayed_tasks_and_parks_them(harness: ControlHarness) -> None:
    await harness.apply(queue=CELERY, deletionPolicy="DeleteIfEmpty")
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert is_deleted(harness)
    assert {*CELERY_LEVELS} <= harness.broker.topology_.queues.keys()
    assert BINDING not in harness.broker.topology_.bindings
    assert replace(BINDING, destination=PARKING) in harness.broker.topology_.bindings
