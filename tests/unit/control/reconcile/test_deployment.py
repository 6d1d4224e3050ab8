"""The Deployment of the workers, also during faults and changes of other clients."""

import copy
from dataclasses import replace

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.faults import Fault, Reason, WorkersFault
from taskqueue_operator.resource.names import ANNOTATION_APPLIED, Key
from taskqueue_operator.topology.objects import Queue, Topology
from tests.unit.control.control_harness import ControlHarness
from tests.unit.control.fake_broker import DATA, UNREACHABLE
from tests.unit.control.fake_cluster import KEY

pytestmark = pytest.mark.looptime


async def test_a_foreign_deployment_of_the_same_name_is_not_changed(harness: ControlHarness) -> None:
    metadata = {"namespace": "media", "name": "thumbnails", "uid": "foreign", "resourceVersion": "1", "generation": 1}
    harness.cluster.deployments[KEY] = {"metadata": metadata, "spec": {"replicas": 3}}
    await harness.apply()
    assert harness.cluster.condition("WorkersAvailable")["reason"] == "DeploymentConflict"
    assert "kubectl -n media delete deployment thumbnails" in harness.cluster.condition("Ready")["message"]
    assert harness.cluster.written("deployment") == harness.cluster.written("replicas") == []


async def test_a_deletion_neither_scales_nor_waits_for_a_deployment_of_another_owner(harness: ControlHarness) -> None:
    await harness.apply(deletionPolicy="Delete", scaling={"maxReplicas": 5, "minReplicas": 2})
    harness.cluster.run_pods(KEY)
    orphan = copy.deepcopy(harness.cluster.deployments[KEY])
    orphan["metadata"] |= {"ownerReferences": [], "resourceVersion": "1000"}
    harness.cluster.deployments[KEY] = orphan
    harness.controller.on_deployment(orphan, deleted=False)
    harness.cluster.delete(KEY)
    await harness.settle(10)
    assert KEY not in harness.cluster.taskqueues
    assert harness.cluster.deployments[KEY]["spec"]["replicas"] == 2


@pytest.mark.slow
async def test_replicas_of_another_client_are_corrected(harness: ControlHarness) -> None:
    harness.start_workers()
    await harness.apply(scaling={"maxReplicas": 5})
    await harness.settle(20)
    deployment = harness.cluster.deployments[KEY]
    await harness.cluster.scale(KEY, replicas=50, taskqueue=KEY.name, generation=deployment["metadata"]["generation"])
    await harness.settle(40)
    assert harness.replicas() == 1


async def test_a_changed_image_keeps_the_current_replicas(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.depths["thumbnails"] = (140, 0)
    await harness.settle()
    await harness.apply(worker={"image": "acme/app:1.5"})
    assert harness.cluster.written("deployment")[-1]["spec"]["replicas"] == 7


async def test_a_deployment_that_changed_without_an_event_is_read_again(harness: ControlHarness) -> None:
    await harness.apply()
    harness.cluster.silent = True
    harness.cluster.run_pods(KEY)
    harness.cluster.silent = False
    await harness.apply(worker={"image": "acme/app:1.5"})
    assert len(harness.cluster.written("deployment")) == 2


async def test_a_deployment_deleted_without_an_event_is_created_again_when_it_is_needed(
    harness: ControlHarness,
) -> None:
    await harness.apply()
    harness.cluster.silent = True
    harness.cluster.remove("deployments", KEY)
    harness.cluster.silent = False
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(10)
    assert harness.replicas() == 5


@pytest.mark.slow
async def test_existing_workers_follow_their_spec_while_the_broker_is_unreachable(harness: ControlHarness) -> None:
    await harness.apply()
    harness.broker.fault = UNREACHABLE
    harness.cluster.secrets.clear()
    await harness.settle(70)
    await harness.apply(worker={"image": "acme/app:1.5"})
    assert len(harness.cluster.written("deployment")) == 2


async def test_a_refused_template_is_reported_with_the_message_of_the_api_server(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> dict[str, object]:
        raise WorkersFault(Reason.POD_TEMPLATE_INVALID, "The API server refused the Deployment.", terminal=True)

    monkeypatch.setattr(harness.cluster, "apply_deployment", refuse)
    await harness.apply()
    assert harness.cluster.condition("Stalled")["message"] == "The API server refused the Deployment."
    assert isinstance(harness.controller.states[KEY].reconcile.faults.popitem()[1], Fault)


async def test_a_missing_secret_of_the_workers_is_reported_before_pods_wait_for_it(harness: ControlHarness) -> None:
    await harness.apply(worker={"image": "acme/app:1", "secretRef": {"name": "workers-own"}})
    condition = harness.cluster.condition("WorkersAvailable")
    assert condition["reason"] == "SecretNotFound"
    assert condition["message"].startswith("Secret media/workers-own not found.")
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    harness.cluster.secrets[Key("media", "workers-own")] = DATA
    await harness.settle(40)
    assert harness.replicas() == 0


def take_image(harness: ControlHarness) -> None:
    """Another client changes the image, as the API server shows it."""
    body = copy.deepcopy(harness.cluster.deployments[KEY])
    image: Body = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"worker"}': {"f:image": {}}}}}}}
    body["metadata"]["managedFields"] = [
        {"manager": "taskqueue-operator", "operation": "Apply", "fieldsV1": {}},
        {"manager": "keel", "operation": "Update", "fieldsV1": image},
    ]
    body["metadata"]["generation"] += 1
    harness.cluster._store("deployments", body)


async def test_a_field_that_another_client_changed_is_restored_at_once(harness: ControlHarness) -> None:
    await harness.apply()
    take_image(harness)
    await harness.settle(1)
    assert len(harness.cluster.written("deployment")) == 2
    assert harness.cluster.condition("Ready")["status"] == "True"
    message = dict(harness.cluster.events)["Restored"]
    assert '"keel" changed ' in message


async def test_a_changed_field_that_a_refused_scale_out_shows_before_its_event_is_restored(
    harness: ControlHarness,
) -> None:
    await harness.apply()
    harness.cluster.silent = True
    take_image(harness)
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(20)
    harness.cluster.silent = False
    harness.cluster.show_all()
    await harness.settle()
    assert len(harness.cluster.written("deployment")) == 2
    assert harness.replicas() == 5


async def test_a_field_that_an_earlier_operator_did_not_set_restarts_no_worker(harness: ControlHarness) -> None:
    await harness.apply()
    body = copy.deepcopy(harness.cluster.deployments[KEY])
    body["metadata"]["managedFields"] = [{"manager": "taskqueue-operator", "operation": "Apply", "fieldsV1": {}}]
    annotations = body["metadata"]["annotations"]
    earlier = body["metadata"] | {"annotations": annotations | {ANNOTATION_APPLIED: "of an earlier template"}}
    harness.cluster._store("deployments", body | {"metadata": earlier})
    await harness.settle(5)
    assert len(harness.cluster.written("deployment")) == 1
    metadata = body["metadata"] | {"resourceVersion": harness.cluster.deployments[KEY]["metadata"]["resourceVersion"]}
    harness.cluster._store("deployments", body | {"metadata": metadata | {"managedFields": []}})
    harness.cluster._store("deployments", body | {"metadata": metadata})
    await harness.settle(5)
    assert len(harness.cluster.written("deployment")) == 2, "of the same template, a field was removed"


@pytest.mark.slow
async def test_a_client_that_changes_a_field_again_and_again_is_named_and_not_fought_in_a_hot_loop(
    harness: ControlHarness,
) -> None:
    await harness.apply()
    messages = list[str]()
    for _ in range(700):
        if "managedFields" not in harness.cluster.deployments[KEY]["metadata"]:
            take_image(harness)
        await harness.settle(1)
        if harness.cluster.condition("Ready")["reason"] == "FieldConflict":
            messages.append(harness.cluster.condition("WorkersAvailable")["message"])
    assert 5 <= len(harness.cluster.written("deployment")) <= 9
    assert len(messages) > 500
    assert '"keel" changes ' in messages[-1]
    assert [reason for reason, _ in harness.cluster.events].count("FieldConflict") <= 20


HOURS = {"image": "acme/app:1.4", "protocol": "Plain", "taskTimeoutSeconds": 7200}
MINUTES = HOURS | {"taskTimeoutSeconds": 3600}


def consumer_timeouts(harness: ControlHarness) -> list[int]:
    return [policy.definition["consumer-timeout"] for policy in harness.broker.topology_.policies.values()]


ONE = {"minReplicas": 1, "maxReplicas": 3}


@pytest.mark.slow
async def test_a_longer_consumer_timeout_lasts_from_before_the_first_pod_to_the_last_one(
    harness: ControlHarness,
) -> None:
    await harness.apply(worker=HOURS, scaling=ONE)
    assert consumer_timeouts(harness) == [7_260_000]
    harness.cluster.run_pods(KEY)
    await harness.apply(worker=MINUTES, scaling=ONE)
    await harness.settle(35)
    assert consumer_timeouts(harness) == [7_260_000], "a worker of the former template still runs"
    harness.cluster.run_pods(KEY)
    await harness.settle(35)
    assert consumer_timeouts(harness) == [3_660_000]


@pytest.mark.slow
async def test_the_policy_of_plain_workers_stays_until_the_last_of_them_ends(harness: ControlHarness) -> None:
    await harness.apply(worker=MINUTES, scaling=ONE)
    harness.cluster.run_pods(KEY)
    await harness.apply(worker={"image": "acme/app:1.4"}, scaling=ONE)
    await harness.settle(35)
    assert consumer_timeouts(harness) == [3_660_000]
    harness.cluster.run_pods(KEY)
    await harness.settle(35)
    assert consumer_timeouts(harness) == [], "workers of this protocol set their own timeout"


async def test_no_worker_starts_long_tasks_before_the_consumer_timeout_is_long_enough(harness: ControlHarness) -> None:
    await harness.apply(worker={"image": "acme/app:1.4"}, scaling=ONE)
    harness.broker.fault = UNREACHABLE
    await harness.apply(worker=HOURS, scaling=ONE)
    assert len(harness.cluster.written("deployment")) == 1
    await harness.apply(worker={"image": "acme/app:1.5"}, scaling=ONE)
    assert len(harness.cluster.written("deployment")) == 2, "workers with short tasks need no longer timeout"
    harness.broker.fault = None
    await harness.apply(worker=HOURS, scaling=ONE)
    await harness.settle(31)
    assert len(harness.cluster.written("deployment")) == 3


async def test_an_older_broker_gets_a_policy_for_workers_of_the_protocol_too(harness: ControlHarness) -> None:
    harness.broker.topology_ = Topology(version=(4, 2, 9))
    await harness.apply(worker={"image": "acme/app:1.4", "taskTimeoutSeconds": 1500})
    assert harness.broker.topology_.policies["thumbnails.timeout"].definition == {"consumer-timeout": 3_060_000}


LINEAR = {"backoff": {"type": "Linear", "initialSeconds": 2}}


def delays(harness: ControlHarness) -> list[int]:
    return [policy.definition["delayed-retry-min"] for policy in harness.broker.topology_.policies.values()]


@pytest.mark.slow
async def test_rejected_messages_are_delayed_from_before_the_first_worker_that_rejects_to_the_last_one(
    harness: ControlHarness,
) -> None:
    await harness.apply(retry=LINEAR, scaling=ONE)
    assert delays(harness) == [2000]
    harness.cluster.run_pods(KEY)
    await harness.apply(scaling=ONE)
    await harness.settle(35)
    assert delays(harness) == [2000], "a worker of the former template still rejects"
    harness.cluster.run_pods(KEY)
    await harness.settle(35)
    assert delays(harness) == []


@pytest.mark.parametrize(
    ("version", "spec", "names"),
    [
        ((3, 9, 13), {}, "RabbitMQ 3.9.13"),
        ((3, 10, 8), {"worker": {"image": "i", "protocol": "Plain", "taskTimeoutSeconds": 7200}}, "RabbitMQ 3.10.8"),
    ],
)
async def test_what_a_version_lacks_is_a_condition_before_anything_is_declared(
    harness: ControlHarness, version: tuple[int, ...], spec: dict[str, object], names: str
) -> None:
    harness.broker.topology_ = Topology(version=version)
    await harness.apply(**spec)
    condition = harness.cluster.condition("TopologyReady")
    assert condition["reason"] == "TopologyRefused"
    assert names in condition["message"]
    assert (harness.broker.applied, harness.cluster.written("deployment")) == ([], [])


async def test_an_external_queue_of_an_old_broker_is_read(harness: ControlHarness) -> None:
    queues = {name: Queue(name) for name in ("celery", "celery.dlq")}
    harness.broker.topology_ = Topology(queues=queues, version=(3, 9, 13))
    await harness.apply(queue={"name": "celery", "external": True})
    assert harness.cluster.condition("TopologyReady")["status"] == "True"


async def test_no_worker_rejects_messages_that_the_broker_does_not_delay(harness: ControlHarness) -> None:
    await harness.apply(scaling=ONE)
    harness.broker.topology_ = replace(harness.broker.topology_, version=(4, 2, 0))
    await harness.apply(retry=LINEAR, scaling=ONE)
    assert harness.cluster.condition("TopologyReady")["reason"] == "TopologyRefused"
    assert len(harness.cluster.written("deployment")) == 1
    harness.broker.topology_ = replace(harness.broker.topology_, version=(4, 3, 1))
    await harness.settle(31)
    assert len(harness.cluster.written("deployment")) == 2
