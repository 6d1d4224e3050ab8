"""What the loop makes of decisions: carried out, only said, fallen back upon, or held back; and kept for later."""

from datetime import UTC, datetime

import pytest

from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.recording import from_json
from tests.approved import assert_approved
from tests.unit.control.conftest import World
from tests.unit.control.fake_broker import GONE_AWAY
from tests.unit.control.fake_cluster import KEY, SECRET
from tests.unit.workers.pod_statuses import waiting

pytestmark = pytest.mark.looptime

FALLBACK = {"maxReplicas": 20, "fallback": {"afterSeconds": 60, "replicas": 6, "behavior": "AtLeast"}}


async def test_a_dry_run_decides_says_so_and_changes_nothing(world: World) -> None:
    await world.has(scaling={"maxReplicas": 20, "mode": "DryRun"})
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    assert world.replicas() == 0
    assert world.cluster.written("replicas") == []
    assert world.cluster.status()["desiredReplicas"] == 5
    assert world.cluster.status()["decision"] == "ready 100 / 20 per replica = 5"
    active = world.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "DryRun")
    assert not [event for event in world.cluster.events if event[0] == "Scaled"]


async def test_the_end_of_a_dry_run_carries_out_what_was_decided(world: World) -> None:
    await world.has(scaling={"maxReplicas": 20, "mode": "DryRun"})
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    await world.has(scaling={"maxReplicas": 20})
    assert world.replicas() == 5


async def test_the_fallback_wakes_workers_when_the_broker_is_away(world: World) -> None:
    await world.has(scaling=FALLBACK)
    world.broker.fault = GONE_AWAY
    await world.settle(55)
    assert world.replicas() == 0
    await world.settle(20)
    assert world.replicas() == 6
    active = world.cluster.condition("ScalingActive")
    assert (active["status"], active["reason"]) == ("False", "Fallback")
    assert_approved("scaling.fallback_active", active["message"])


async def test_the_fallback_works_after_a_start_without_a_secret(world: World) -> None:
    await world.has(scaling=FALLBACK)
    del world.cluster.secrets[SECRET]
    await world.restart()
    await world.settle(80)
    assert world.replicas() == 6


async def test_workers_of_a_fallback_go_again_when_the_broker_is_back(world: World) -> None:
    world.staff()
    await world.has(scaling=FALLBACK)
    world.broker.fault = GONE_AWAY
    await world.settle(80)
    world.broker.fault = None
    await world.settle(150)
    assert world.replicas() == 0


@pytest.mark.slow
async def test_a_broker_that_is_gone_is_told_since_when_and_why_and_nobody_goes(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(20)
    world.broker.depths["thumbnails"] = (0, 0)
    world.broker.fault = GONE_AWAY
    gone = world.clock()
    await world.settle(3600)
    assert world.replicas() == 5
    told = world.cluster.condition("BrokerReachable")
    assert (told["status"], told["message"]) == ("False", GONE_AWAY.message)
    since = datetime.fromisoformat(told["lastTransitionTime"])
    assert abs((since - gone).total_seconds()) <= 5


@pytest.mark.slow
async def test_a_schedule_wakes_workers_at_its_time_and_lets_them_go_after_it(world: World) -> None:
    now = world.clock().astimezone(UTC)
    start, end = (now.hour * 60 + now.minute + 5) % 1440, (now.hour * 60 + now.minute + 15) % 1440
    cron = [f"{minute % 60} {minute // 60} * * *" for minute in (start, end)]
    world.staff()
    schedule = {"name": "rush", "start": cron[0], "end": cron[1], "minReplicas": 4}
    await world.has(scaling={"maxReplicas": 20, "schedules": [schedule]})
    await world.settle(3.5 * 60)
    assert world.replicas() == 0
    await world.settle(2 * 60)
    assert world.replicas() == 4
    limited = world.cluster.condition("ScalingLimited")
    assert (limited["reason"], limited["message"]) == ("TooFewReplicas", "raised to 4 by schedule rush")
    await world.settle(13 * 60)
    assert world.replicas() == 0


async def test_a_schedule_that_cannot_be_read_is_told_and_stops_nothing(world: World) -> None:
    schedule = {"name": "odd", "start": "0 0 30 2 *", "end": "0 0 * * *", "minReplicas": 4}
    await world.has(scaling={"maxReplicas": 20, "schedules": [schedule]})
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(5)
    assert world.replicas() == 5
    assert world.cluster.condition("Stalled")["reason"] == "InvalidSpec"
    assert world.cluster.condition("Ready")["message"].startswith("spec.scaling.schedules[odd].start: ")


async def test_a_number_set_by_hand_lasts_until_the_next_decision(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (100, 0)
    world.staff()
    await world.settle(20)
    for by_hand in (2, 9):
        there = world.cluster.deployments[KEY]
        there["spec"]["replicas"] = by_hand
        there["metadata"]["generation"] += 1
        world.cluster._store("deployments", there)
        await world.settle(70)
        assert world.replicas() == 5


async def test_the_last_decisions_are_kept_as_they_can_be_replayed(world: World) -> None:
    await world.has(scaling={"maxReplicas": 100})
    for n in range(1, 26):
        world.broker.depths["thumbnails"] = (20 * n, 0)
        await world.settle(2)
    document = world.control.recordings(KEY)
    assert document is not None
    kept = from_json(document)
    assert [each.decision.desired for each in kept] == list(range(6, 26))
    assert [each.replay() for each in kept] == [each.decision for each in kept]


async def test_there_are_no_recordings_of_what_is_not_there(world: World) -> None:
    await world.has()
    assert world.control.recordings(Key("media", "nobody")) is None
    world.cluster.delete(KEY)
    await world.settle(3)
    assert world.control.recordings(KEY) is None


async def test_a_version_that_does_not_start_is_not_multiplied_and_its_correction_goes_on_at_once(world: World) -> None:
    await world.has(scaling={"maxReplicas": 20, "minReplicas": 1})
    world.cluster.run_pods(KEY, status=waiting("ImagePullBackOff"))
    world.broker.depths["thumbnails"] = (400, 0)
    await world.settle(5)
    world.cluster.run_pods(KEY, status=waiting("ImagePullBackOff"))
    await world.settle(60)
    assert world.replicas() == 3
    limited = world.cluster.condition("ScalingLimited")
    assert (limited["status"], limited["reason"]) == ("True", "WorkersFailing")
    assert "ImagePullBackOff" in limited["message"]
    await world.has(scaling={"maxReplicas": 20, "minReplicas": 1}, worker={"image": "acme/app:1.6"})
    assert world.replicas() == 20
