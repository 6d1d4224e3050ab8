"""What ScalingActive says while the number of workers follows the queue."""

from dataclasses import replace

import pytest

from taskqueue_operator.topology.objects import Policy
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness

pytestmark = pytest.mark.looptime


async def test_a_prefetch_far_above_the_concurrency_is_named(harness: ControlHarness) -> None:
    worker = {"image": "acme/app:1", "concurrency": 2}
    for prefetch in (8, "Auto"):
        await harness.apply(worker=worker | {"prefetch": prefetch})
        await harness.settle(30)
        assert "prefetch" not in harness.cluster.condition("ScalingActive")["message"]
    await harness.apply(worker=worker | {"prefetch": 9})
    await harness.settle(30)
    active = harness.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("True", "Ready")
    assert "spec.worker.prefetch is far above concurrency" in active["message"]


async def test_a_policy_that_delays_what_a_worker_gives_back_is_named_while_it_does(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(30)
    declared = harness.broker.topology_
    theirs = Policy("company", "^thumb", "queues", {"delayed-retry-type": "all"}, priority=1)
    delayed = {**declared.queues, "thumbnails": replace(declared.queues["thumbnails"], delayed="all")}
    harness.broker.topology_ = replace(declared, queues=delayed, policies={"company": theirs})
    await harness.settle(30)
    active = harness.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("True", "ReturnedDelayed")
    assert_approved("scaling.returned_delayed", active["message"])
    harness.broker.topology_ = declared
    await harness.settle(30)
    assert harness.cluster.condition("ScalingActive")["reason"] != "ReturnedDelayed"


@pytest.mark.parametrize(
    ("queue", "reason"),
    [
        ({"maxLength": 5}, "QueueFull"),
        ({"type": "Classic", "maxLength": 5}, "QueueFull"),
        ({"type": "Classic", "maxLength": 5, "overflow": "DropHead"}, "Ready"),
        ({"maxLengthBytes": 5}, "Ready"),
    ],
    ids=["quorum", "classic", "drop-head", "bytes"],
)
async def test_a_queue_that_refuses_messages_is_named_while_it_is_full(
    harness: ControlHarness, queue: dict[str, object], reason: str
) -> None:
    await harness.apply(queue=queue)
    harness.broker.depths["thumbnails"] = (4, 0)
    await harness.settle(60)
    assert harness.cluster.condition("ScalingActive")["reason"] == "Ready"

    harness.broker.depths["thumbnails"] = (5, 0)
    await harness.settle(60)
    active = harness.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("True", reason)
    if reason == "QueueFull":
        assert_approved("scaling.queue_full", active["message"])

    harness.broker.depths["thumbnails"] = (4, 0)
    await harness.settle(60)
    assert harness.cluster.condition("ScalingActive")["reason"] == "Ready"


async def test_all_shards_that_refuse_messages_are_named(harness: ControlHarness) -> None:
    await harness.apply(queue={"maxLength": 5, "shards": {"count": 3}})
    harness.broker.depths |= {"thumbnails.0": (5, 0), "thumbnails.1": (4, 0), "thumbnails.2": (6, 0)}
    await harness.settle(60)
    message = harness.cluster.condition("ScalingActive")["message"]
    assert 'queues "thumbnails.0", "thumbnails.2" are full' in message
