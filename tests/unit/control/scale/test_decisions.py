"""What happens to decisions: applied, only reported, replaced by the fallback, or limited; and recorded."""

from datetime import UTC, datetime

import pytest

from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.recording import from_json
from tests.approved import assert_approved
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import UNREACHABLE
from tests.unit.control.fake_cluster import KEY, SECRET
from tests.unit.workers.pod_statuses import waiting

pytestmark = pytest.mark.looptime

FALLBACK = {"maxReplicas": 20, "fallback": {"afterSeconds": 60, "replicas": 6, "behavior": "AtLeast"}}


async def test_a_dry_run_reports_its_decision_and_changes_nothing(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 20, "mode": "DryRun"})
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    assert harness.replicas() == 0
    assert harness.cluster.written("replicas") == []
    assert harness.cluster.status()["desiredReplicas"] == 5
    assert harness.cluster.status()["decision"] == "ready 100 / 20 per replica = 5"
    active = harness.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "DryRun")
    assert not [event for event in harness.cluster.events if event[0] == "Scaled"]


async def test_the_end_of_a_dry_run_applies_the_decision(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 20, "mode": "DryRun"})
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    await harness.apply(scaling={"maxReplicas": 20})
    assert harness.replicas() == 5


@pytest.mark.slow
async def test_the_fallback_starts_workers_while_the_broker_is_unreachable(harness: ControlHarness) -> None:
    await harness.apply(scaling=FALLBACK)
    harness.broker.fault = UNREACHABLE
    await harness.settle(55)
    assert harness.replicas() == 0
    await harness.settle(20)
    assert harness.replicas() == 6
    active = harness.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "Fallback")
    assert_approved("scaling.fallback_active", active["message"])


async def test_the_fallback_works_after_a_start_without_a_secret(harness: ControlHarness) -> None:
    await harness.apply(scaling=FALLBACK)
    del harness.cluster.secrets[SECRET]
    await harness.restart()
    await harness.settle(80)
    assert harness.replicas() == 6


@pytest.mark.slow
async def test_workers_of_a_fallback_are_removed_when_the_broker_is_reachable_again(harness: ControlHarness) -> None:
    harness.start_workers()
    await harness.apply(scaling=FALLBACK)
    harness.broker.fault = UNREACHABLE
    await harness.settle(80)
    harness.broker.fault = None
    await harness.settle(150)
    assert harness.replicas() == 0


@pytest.mark.slow
async def test_an_unreachable_broker_is_reported_with_time_and_reason_and_no_worker_is_removed(
    harness: ControlHarness,
) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.broker.depths["thumbnails"] = (0, 0)
    harness.broker.fault = UNREACHABLE
    outage_began = harness.clock()
    await harness.settle(3600)
    assert harness.replicas() == 5
    condition = harness.cluster.condition("BrokerReachable")
    assert (condition["status"], condition["message"]) == ("False", UNREACHABLE.message)
    since = datetime.fromisoformat(condition["lastTransitionTime"])
    assert abs((since - outage_began).total_seconds()) <= 5


@pytest.mark.slow
async def test_a_schedule_starts_workers_and_removes_them_after_its_end(harness: ControlHarness) -> None:
    now = harness.clock().astimezone(UTC)
    start, end = (now.hour * 60 + now.minute + 5) % 1440, (now.hour * 60 + now.minute + 15) % 1440
    cron = [f"{minute % 60} {minute // 60} * * *" for minute in (start, end)]
    harness.start_workers()
    schedule = {"name": "rush", "start": cron[0], "end": cron[1], "minReplicas": 4}
    await harness.apply(scaling={"maxReplicas": 20, "schedules": [schedule]})
    await harness.settle(3.5 * 60)
    assert harness.replicas() == 0
    await harness.settle(2 * 60)
    assert harness.replicas() == 4
    limited = harness.cluster.condition("ScalingLimited")
    assert (limited["reason"], limited["message"]) == ("TooFewReplicas", "raised to 4 by schedule rush")
    await harness.settle(13 * 60)
    assert harness.replicas() == 0


async def test_an_invalid_schedule_is_reported_and_does_not_stop_scaling(harness: ControlHarness) -> None:
    schedule = {"name": "odd", "start": "0 0 30 2 *", "end": "0 0 * * *", "minReplicas": 4}
    await harness.apply(scaling={"maxReplicas": 20, "schedules": [schedule]})
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(5)
    assert harness.replicas() == 5
    assert harness.cluster.condition("Stalled")["reason"] == "InvalidSpec"
    assert harness.cluster.condition("Ready")["message"].startswith("spec.scaling.schedules[odd].start: ")


@pytest.mark.slow
async def test_manually_set_replicas_last_until_the_next_decision(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (100, 0)
    harness.start_workers()
    await harness.settle(20)
    for by_hand in (2, 9):
        deployment = harness.cluster.deployments[KEY]
        deployment["spec"]["replicas"] = by_hand
        deployment["metadata"]["generation"] += 1
        harness.cluster._store("deployments", deployment)
        await harness.settle(70)
        assert harness.replicas() == 5


@pytest.mark.slow
async def test_the_last_decisions_are_recorded_and_can_be_replayed(harness: ControlHarness) -> None:
    await harness.apply(scaling={"maxReplicas": 100})
    for n in range(1, 26):
        harness.broker.depths["thumbnails"] = (20 * n, 0)
        await harness.settle(2)
    document = harness.controller.recordings(KEY)
    assert document is not None
    kept = from_json(document)
    assert [recording.decision.desired for recording in kept] == list(range(6, 26))
    assert [recording.replay() for recording in kept] == [recording.decision for recording in kept]


async def test_an_absent_taskqueue_has_no_recordings(harness: ControlHarness) -> None:
    await harness.apply()
    assert harness.controller.recordings(Key("media", "absent")) is None
    harness.cluster.delete(KEY)
    await harness.settle(3)
    assert harness.controller.recordings(KEY) is None


@pytest.mark.slow
async def test_a_version_that_does_not_start_is_not_scaled_out_until_its_correction_starts(
    harness: ControlHarness,
) -> None:
    harness.cluster.workers_have_started = False
    await harness.apply(scaling={"maxReplicas": 20, "minReplicas": 1})
    harness.cluster.run_pods(KEY, status=waiting("ImagePullBackOff"))
    harness.broker.depths["thumbnails"] = (400, 0)
    await harness.settle(5)
    harness.cluster.run_pods(KEY, status=waiting("ImagePullBackOff"))
    await harness.settle(60)
    assert harness.replicas() == 3
    limited = harness.cluster.condition("ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "WorkersFailing")
    assert "ImagePullBackOff" in limited["message"]
    await harness.apply(scaling={"maxReplicas": 20, "minReplicas": 1}, worker={"image": "acme/app:1.6"})
    assert harness.replicas() == 3
    harness.cluster.run_pods(KEY)
    await harness.settle()
    assert harness.replicas() == 20
