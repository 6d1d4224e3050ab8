"""The invariants of the design by their numbers, on the whole controller."""

import asyncio

import pytest

from .control_harness import ControlHarness
from .fake_broker import AUTHENTICATION_FAILED, DATA, PASSWORD, UNREACHABLE
from .fake_cluster import SECRET, taskqueue

pytestmark = pytest.mark.looptime


@pytest.mark.slow
async def test_invariant_2_an_unreachable_broker_lowers_no_replicas(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.broker.fault = UNREACHABLE
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(600)
    assert harness.replicas() == 5
    assert harness.cluster.condition("BrokerReachable")["reason"] == "BrokerUnreachable"
    assert harness.cluster.condition("ScalingActive")["status"] == "False"


@pytest.mark.slow
async def test_invariant_5_without_a_change_nothing_is_written(harness: ControlHarness) -> None:
    await harness.apply()
    await harness.settle(60)
    harness.cluster.writes.clear()
    harness.broker.applied.clear()
    await harness.settle(300)
    assert harness.cluster.writes == []
    assert harness.broker.applied == []


@pytest.mark.slow
async def test_invariant_5_a_restart_without_a_change_writes_nothing(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Delete")
    await harness.settle(60)
    harness.cluster.writes.clear()
    await harness.restart()
    await harness.settle(120)
    assert harness.cluster.writes == []


@pytest.mark.parametrize("steps", range(1, 40, 5))
async def test_invariant_7_reconciliation_converges_after_a_restart_at_any_step(
    harness: ControlHarness, steps: int
) -> None:
    harness.cluster.put(taskqueue(deletionPolicy="Delete"))
    for _ in range(steps):
        await asyncio.sleep(0)
    await harness.restart()
    await harness.settle()
    assert set(harness.broker.queues) == {"thumbnails", "thumbnails.dlq"}
    assert harness.cluster.condition("Ready")["status"] == "True"
    assert len(harness.cluster.written("deployment")) == 1


@pytest.mark.slow
async def test_invariant_10_no_secret_is_written_anywhere(
    harness: ControlHarness, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    await harness.apply()
    harness.broker.fault = AUTHENTICATION_FAILED
    await harness.settle(30)
    harness.broker.fault = None
    harness.cluster.secrets[SECRET] = {"url": DATA["uri"]}
    await harness.settle(120)
    harness.cluster.secrets.pop(SECRET)
    await harness.settle(120)
    assert harness.cluster.condition("Ready")["reason"] == "SecretNotFound"
    printed = capsys.readouterr()
    everything = [str(harness.cluster.writes), caplog.text, printed.out, printed.err, str(harness.telemetry.events)]
    everything += [repr(task) for task in asyncio.all_tasks()]
    assert "RabbitMQ at broker:5672 refuses the user." in everything[0]
    assert PASSWORD not in "".join(everything)
