"""A worker that has never consumed is removed when the user pauses the workers, also without the broker."""

import pytest

from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import AUTHENTICATION_FAILED
from tests.unit.control.fake_cluster import KEY
from tests.unit.workers.pod_statuses import Body, container

pytestmark = pytest.mark.looptime

NEVER_READY: Body = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T10:00:01Z"}],
} | container({"running": {"startedAt": "2026-01-01T10:00:05Z"}}, started=True)


async def test_a_pause_removes_a_worker_whose_credentials_the_broker_has_always_refused(
    harness: ControlHarness,
) -> None:
    await harness.apply(scaling={"maxReplicas": 3, "minReplicas": 1})
    harness.cluster.run_pods(KEY, status=NEVER_READY)
    harness.broker.fault = AUTHENTICATION_FAILED
    await harness.settle(50)
    await harness.apply(scaling={"maxReplicas": 3, "mode": "Paused", "pausedReplicas": 0})
    await harness.settle(60)
    assert harness.replicas() == 0
    harness.cluster.run_pods(KEY, 0)
    await harness.settle()
    assert ("removed", "never_consumed") in harness.telemetry.events
