"""What becomes of the workers' Deployment, whatever happens around it."""

import pytest

from taskqueue_operator.resource.faults import Fault, Reason, WorkersFault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.objects import Topology
from tests.unit.control.conftest import World
from tests.unit.control.fake_broker import DATA, GONE_AWAY
from tests.unit.control.fake_cluster import KEY

pytestmark = pytest.mark.looptime


async def test_a_foreign_deployment_of_the_name_is_left_alone(world: World) -> None:
    metadata = {"namespace": "media", "name": "thumbnails", "uid": "foreign", "resourceVersion": "1", "generation": 1}
    world.cluster.deployments[KEY] = {"metadata": metadata, "spec": {"replicas": 3}}
    await world.has()
    assert world.cluster.condition("WorkersAvailable")["reason"] == "DeploymentConflict"
    assert "kubectl -n media delete deployment thumbnails" in world.cluster.condition("Ready")["message"]
    assert world.cluster.written("deployment") == world.cluster.written("replicas") == []


async def test_what_is_scaled_by_others_is_put_right(world: World) -> None:
    world.staff()
    await world.has(scaling={"maxReplicas": 5})
    await world.settle(20)
    there = world.cluster.deployments[KEY]
    await world.cluster.scale(KEY, replicas=50, generation=there["metadata"]["generation"])
    await world.settle(40)
    assert world.replicas() == 1


async def test_a_changed_image_keeps_the_live_number_of_workers(world: World) -> None:
    await world.has()
    world.broker.depths["thumbnails"] = (140, 0)
    await world.settle()
    await world.has(worker={"image": "acme/app:1.5"})
    assert world.cluster.written("deployment")[-1]["spec"]["replicas"] == 7


async def test_a_deployment_that_changed_unseen_is_read_again(world: World) -> None:
    await world.has()
    world.cluster.silent = True
    world.cluster.run_pods(KEY)
    world.cluster.silent = False
    await world.has(worker={"image": "acme/app:1.5"})
    assert len(world.cluster.written("deployment")) == 2


async def test_a_deployment_that_went_unseen_is_made_again_when_it_is_needed(world: World) -> None:
    await world.has()
    world.cluster.silent = True
    world.cluster.remove("deployments", KEY)
    world.cluster.silent = False
    world.broker.depths["thumbnails"] = (100, 0)
    await world.settle(10)
    assert world.replicas() == 5


async def test_workers_that_exist_follow_their_spec_while_the_broker_is_away(world: World) -> None:
    await world.has()
    world.broker.fault = GONE_AWAY
    world.cluster.secrets.clear()
    await world.settle(70)
    await world.has(worker={"image": "acme/app:1.5"})
    assert len(world.cluster.written("deployment")) == 2


async def test_a_refused_template_is_told_in_the_words_of_the_api_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> dict[str, object]:
        raise WorkersFault(Reason.POD_TEMPLATE_INVALID, "The API server refused the Deployment.", terminal=True)

    monkeypatch.setattr(world.cluster, "apply_deployment", refuse)
    await world.has()
    assert world.cluster.condition("Stalled")["message"] == "The API server refused the Deployment."
    assert isinstance(world.control.states[KEY].reconcile.faults.popitem()[1], Fault)


async def test_a_missing_secret_of_the_workers_is_told_before_pods_wait_for_it(world: World) -> None:
    await world.has(worker={"image": "acme/app:1", "secretRef": {"name": "workers-own"}})
    condition = world.cluster.condition("WorkersAvailable")
    assert condition["reason"] == "SecretNotFound"
    assert condition["message"].startswith("Secret media/workers-own not found.")
    assert world.cluster.condition("TopologyReady")["status"] == "True"
    world.cluster.secrets[Key("media", "workers-own")] = DATA
    await world.settle(40)
    assert world.replicas() == 0


HOURS = {"image": "acme/app:1.4", "protocol": "Plain", "taskTimeoutSeconds": 7200}
MINUTES = HOURS | {"taskTimeoutSeconds": 3600}


def patience(world: World) -> list[int]:
    return [policy.definition["consumer-timeout"] for policy in world.broker.topology_.policies.values()]


ONE = {"minReplicas": 1, "maxReplicas": 3}


async def test_the_broker_is_patient_before_workers_need_it_and_until_the_last_of_them_has_gone(world: World) -> None:
    await world.has(worker=HOURS, scaling=ONE)
    assert patience(world) == [7_260_000]
    world.cluster.run_pods(KEY)
    await world.has(worker=MINUTES, scaling=ONE)
    await world.settle(35)
    assert patience(world) == [7_260_000], "one of before still runs"
    world.cluster.run_pods(KEY)
    await world.settle(35)
    assert patience(world) == [3_660_000]


async def test_workers_of_others_that_still_run_keep_their_policy_when_ours_take_over(world: World) -> None:
    await world.has(worker=MINUTES, scaling=ONE)
    world.cluster.run_pods(KEY)
    await world.has(worker={"image": "acme/app:1.4"}, scaling=ONE)
    await world.settle(35)
    assert patience(world) == [3_660_000]
    world.cluster.run_pods(KEY)
    await world.settle(35)
    assert patience(world) == [], "ours say it themselves"


async def test_no_worker_begins_with_long_tasks_before_the_broker_is_patient(world: World) -> None:
    await world.has(worker={"image": "acme/app:1.4"}, scaling=ONE)
    world.broker.fault = GONE_AWAY
    await world.has(worker=HOURS, scaling=ONE)
    assert len(world.cluster.written("deployment")) == 1
    await world.has(worker={"image": "acme/app:1.5"}, scaling=ONE)
    assert len(world.cluster.written("deployment")) == 2, "short ones follow their spec"
    world.broker.fault = None
    await world.has(worker=HOURS, scaling=ONE)
    await world.settle(31)
    assert len(world.cluster.written("deployment")) == 3


async def test_an_older_broker_is_told_by_a_policy_for_workers_of_ours_too(world: World) -> None:
    world.broker.topology_ = Topology(supports_consumer_timeout=False)
    await world.has(worker={"image": "acme/app:1.4", "taskTimeoutSeconds": 1500})
    assert world.broker.topology_.policies["thumbnails.timeout"].definition == {"consumer-timeout": 3_060_000}
