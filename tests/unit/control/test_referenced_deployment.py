"""A Deployment that Helm, Argo CD or a person owns: it is scaled and drained, and nothing else of it changes."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from taskqueue_operator.control.ports import Body
from taskqueue_operator.drain.protocol import State
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import KIND, LABEL_NAME, Key
from tests.approved import assert_approved

from .control_harness import ControlHarness
from .fake_cluster import KEY, taskqueue

pytestmark = pytest.mark.looptime

SHOP = Key("media", "shop-worker")
LABEL = {LABEL_NAME: KEY.name}
REFERENCE = {"deploymentRef": {"name": SHOP.name}, "taskTimeoutSeconds": 60}
CONTAINER: dict[str, Any] = {
    "name": "app",
    "env": [
        {"name": "TASKQUEUE_NAME", "value": str(KEY)},
        {"name": "TASKQUEUE_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "TASKQUEUE_TASK_TIMEOUT_SECONDS", "value": "60"},
    ],
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
}


def deployment(*, uid: str = "shop", labels: Body = LABEL, template: Body = LABEL, **metadata: object) -> Body:
    """A Deployment as its owner applies it, at one replica."""
    return {
        "metadata": {**SHOP._asdict(), "uid": uid, "generation": 1, "labels": labels, **metadata},
        "spec": {
            "replicas": 1,
            "template": {
                "metadata": {"labels": {"app": "shop"} | template},
                "spec": {"terminationGracePeriodSeconds": 90, "containers": [CONTAINER]},
            },
        },
        "status": {"observedGeneration": 1},
    }


def replicas(harness: ControlHarness) -> int:
    found: int = harness.cluster.deployments[SHOP]["spec"]["replicas"]
    return found


def scaling_active(harness: ControlHarness) -> tuple[str, str]:
    condition = harness.cluster.condition("ScalingActive")
    return condition["status"], condition["reason"]


def reverse(harness: ControlHarness) -> None:
    """Change the number of replicas as another client does."""
    body = copy.deepcopy(harness.cluster.deployments[SHOP])
    body["spec"]["replicas"] = 2
    body["metadata"]["generation"] += 1
    harness.cluster._store("deployments", body)


async def refer(harness: ControlHarness, body: Body | None = None, *, backlog: int = 100) -> None:
    """Apply a TaskQueue whose workers are those of a Deployment of others."""
    harness.broker.depths["thumbnails"] = (backlog, 0)
    if body is not None:
        harness.cluster._store("deployments", copy.deepcopy(body))
    await harness.apply(worker=REFERENCE, scaling={"maxReplicas": 5})


async def test_only_replicas_of_it_are_written(harness: ControlHarness) -> None:
    before = deployment()
    harness.start_workers()
    await refer(harness, before)
    await harness.settle(25)
    assert replicas(harness) == 5
    assert scaling_active(harness) == ("True", "Ready")
    after = harness.cluster.deployments[SHOP]
    assert after["spec"] == before["spec"] | {"replicas": 5}
    assert {name: after["metadata"][name] for name in before["metadata"] if name != "generation"} == {
        name: value for name, value in before["metadata"].items() if name != "generation"
    }
    assert KEY not in harness.cluster.deployments
    assert harness.cluster.written("deployment") == []
    assert harness.cluster.status()["readyReplicas"] == 5


async def test_its_idle_workers_are_drained_and_a_busy_one_stays(harness: ControlHarness) -> None:
    workers = harness.start_workers()
    await refer(harness, deployment())
    await harness.settle(25)
    busy = workers.of(SHOP)[0]
    busy.in_flight = 1
    harness.broker.depths["thumbnails"] = (0, 1)
    await harness.settle(400)
    assert workers.of(SHOP) == [busy]
    assert {worker.state for worker in workers.removed} == {State.DRAINED}


async def test_a_deployment_that_does_not_exist_is_found_when_it_appears_and_found_again(
    harness: ControlHarness,
) -> None:
    await refer(harness)
    assert scaling_active(harness) == ("False", "DeploymentNotFound")
    assert harness.cluster.condition("Ready")["reason"] == "DeploymentNotFound"
    assert_approved("referenced.not_found", harness.cluster.condition("WorkersAvailable")["message"])
    for uid in ("first", "second"):
        harness.cluster._store("deployments", deployment(uid=uid))
        await harness.settle(40)
        assert replicas(harness) > 1
        harness.cluster.remove("deployments", SHOP)
        await harness.settle(10)
        assert scaling_active(harness) == ("False", "DeploymentNotFound")


@pytest.mark.parametrize(
    ("body", "reason", "key"),
    [
        (deployment(labels={}, template={}), "DeploymentNotLabeled", "referenced.not_labeled"),
        (deployment(template={}), "DeploymentNotLabeled", "referenced.template_not_labeled"),
        (deployment(labels={LABEL_NAME: "mails"}), "TargetConflict", "referenced.of_another_taskqueue"),
        (
            deployment(ownerReferences=[{"kind": KIND, "name": "shop-worker", "uid": "u", "controller": True}]),
            "TargetConflict",
            "referenced.created_by_the_operator",
        ),
    ],
    ids=["no labels", "no label of the pods", "label of another TaskQueue", "Deployment of another TaskQueue"],
)
async def test_a_deployment_that_does_not_allow_it_is_not_scaled(
    harness: ControlHarness, body: Body, reason: str, key: str
) -> None:
    await refer(harness, body)
    await harness.settle(25)
    assert scaling_active(harness) == ("False", reason)
    assert_approved(key, harness.cluster.condition("ScalingActive")["message"])
    assert harness.cluster.written("replicas") == []
    allowed = deployment()
    allowed["metadata"] |= {"generation": 2, "ownerReferences": []}
    harness.cluster._store("deployments", allowed)
    await harness.settle(40)
    assert replicas(harness) > 1


async def test_nothing_is_written_once_the_label_is_gone_although_the_watch_is_late(harness: ControlHarness) -> None:
    await refer(harness, deployment(), backlog=0)
    await harness.settle(25)
    seen, harness.cluster.watches = harness.cluster.watches, []
    harness.cluster._store(
        "deployments", harness.cluster.deployments[SHOP] | {"metadata": deployment(labels={})["metadata"]}
    )
    harness.cluster.watches = seen
    harness.broker.depths["thumbnails"] = (100, 0)
    await harness.settle(10)
    assert harness.cluster.written("replicas") == []
    assert scaling_active(harness) == ("False", "DeploymentNotLabeled")


async def test_an_autoscaler_on_the_same_deployment_has_it_alone(harness: ControlHarness) -> None:
    harness.cluster.autoscaled[SHOP] = "keda-hpa-shop"
    await refer(harness, deployment())
    await harness.settle(25)
    assert scaling_active(harness) == ("False", "TargetConflict")
    assert harness.cluster.condition("Ready")["reason"] == "TargetConflict"
    assert harness.cluster.condition("WorkersAvailable")["reason"] != "TargetConflict"
    assert_approved("referenced.autoscaler", harness.cluster.condition("ScalingActive")["message"])
    assert harness.cluster.writes == [write for write in harness.cluster.writes if write[0] in {"status", "event"}]
    del harness.cluster.autoscaled[SHOP]
    await harness.settle(60)
    assert replicas(harness) > 1
    assert scaling_active(harness)[0] == "True"


async def test_nothing_is_scaled_while_it_is_unknown_whether_there_is_an_autoscaler(
    harness: ControlHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(Reason.API_UNAVAILABLE, "Kubernetes: cannot list horizontalpodautoscalers.")

    async def refuse(_: str) -> Mapping[str, str]:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(harness.cluster, "autoscalers", refuse)
        await refer(harness, deployment())
        await harness.settle(25)
        assert harness.cluster.written("replicas") == []
        assert scaling_active(harness) == ("False", "ApiUnavailable")
        assert harness.cluster.condition("ScalingActive")["message"] == fault.message
    await harness.settle(60)
    assert replicas(harness) > 1
    assert scaling_active(harness)[0] == "True"


async def test_an_autoscaler_that_is_created_later_is_found_at_its_first_write(harness: ControlHarness) -> None:
    harness.start_workers()
    await refer(harness, deployment())
    await harness.settle(25)
    assert replicas(harness) == 5
    harness.cluster.autoscaled[SHOP] = "shop"
    reverse(harness)
    await harness.settle(5)
    assert scaling_active(harness) == ("False", "TargetConflict")


async def test_a_gitops_tool_that_changes_replicas_back_is_given_way(harness: ControlHarness) -> None:
    harness.start_workers()
    await refer(harness, deployment())
    await harness.settle(25)
    for _ in range(3):
        reverse(harness)
        await harness.settle(15)
    assert replicas(harness) == 2
    assert scaling_active(harness) == ("False", "ReplicasConflict")
    assert str(SHOP) in harness.cluster.condition("ScalingActive")["message"]


async def test_one_listing_of_autoscalers_serves_all_taskqueues_of_a_namespace(harness: ControlHarness) -> None:
    for number in range(20):
        key = Key(KEY.namespace, f"q{number}")
        body = deployment(labels={LABEL_NAME: key.name}, template={LABEL_NAME: key.name})
        body["metadata"] |= {"name": f"d{number}", "uid": f"d{number}"}
        harness.cluster._store("deployments", body)
        harness.cluster.put(taskqueue(key, worker={"deploymentRef": {"name": f"d{number}"}}))
    await harness.settle(5)
    assert harness.cluster.autoscaler_listings == 1


async def test_a_deletion_leaves_it_with_its_replicas_and_waits_for_none(harness: ControlHarness) -> None:
    harness.start_workers()
    await refer(harness, deployment())
    await harness.settle(25)
    before = copy.deepcopy(harness.cluster.deployments[SHOP])
    harness.cluster.put(taskqueue(worker=REFERENCE, deletionPolicy="Delete"))
    await harness.settle()
    harness.cluster.delete(KEY)
    await harness.settle(20)
    assert KEY not in harness.cluster.taskqueues
    assert harness.cluster.deployments[SHOP] == before


async def test_a_deletion_that_waits_for_its_workers_says_why_their_number_does_not_change(
    harness: ControlHarness,
) -> None:
    await refer(harness, deployment(), backlog=0)
    harness.cluster.put(taskqueue(worker=REFERENCE, deletionPolicy="Drain", scaling={"maxReplicas": 5}))
    await harness.settle(25)
    harness.cluster._store("deployments", deployment(labels={}))
    harness.broker.depths["thumbnails"] = (100, 0)
    harness.cluster.delete(KEY)
    await harness.settle(60)
    assert harness.cluster.condition("Ready")["reason"] == "NotEmpty"
    assert_approved("referenced.deletion_waits", harness.cluster.condition("Ready")["message"])
    assert scaling_active(harness) == ("False", "DeploymentNotLabeled")
    harness.cluster._store("deployments", deployment())
    await harness.settle(60)
    assert replicas(harness) > 1


async def test_its_workers_empty_the_queue_of_a_deletion_that_another_leader_continues(harness: ControlHarness) -> None:
    await refer(harness, deployment(), backlog=0)
    harness.cluster.put(taskqueue(worker=REFERENCE, deletionPolicy="Drain", scaling={"maxReplicas": 5}))
    await harness.settle(25)
    await harness.stop_controller()
    harness.broker.depths["thumbnails"] = (100, 0)
    harness.cluster.delete(KEY)
    harness.start_controller()
    await harness.settle(60)
    assert KEY in harness.cluster.taskqueues
    assert replicas(harness) > 1


def _changed(template: Body, **spec: object) -> Body:
    body: dict[str, Any] = deployment()
    body["spec"]["template"]["spec"] |= template
    body["spec"] |= spec
    return body


@pytest.mark.parametrize(
    ("body", "reason", "key"),
    [
        (_changed({"containers": [{"name": "app"}]}), "EnvironmentMissing", "referenced.environment_missing"),
        (_changed({"terminationGracePeriodSeconds": 30}), "DeploymentUnsafe", "referenced.grace_period"),
        (
            _changed(
                {"containers": [CONTAINER | {"readinessProbe": None}]},
                minReadySeconds=10,
                strategy={"type": "Recreate"},
            ),
            "DeploymentUnsafe",
            "referenced.unsafe",
        ),
    ],
    ids=["environment", "grace period", "rollouts and probe"],
)
async def test_what_keeps_its_workers_from_being_safe_is_said(
    harness: ControlHarness, body: Body, reason: str, key: str
) -> None:
    harness.start_workers()
    await refer(harness, body)
    await harness.settle(25)
    assert replicas(harness) == 5
    assert scaling_active(harness) == ("True", reason)
    assert_approved(key, harness.cluster.condition("ScalingActive")["message"])


async def test_no_worker_is_removed_that_knows_another_timeout(harness: ControlHarness) -> None:
    """It would call a task overdue that may still run."""
    workers = harness.start_workers()
    env = [*CONTAINER["env"][:2], {"name": "TASKQUEUE_TASK_TIMEOUT_SECONDS", "value": "30"}]
    await refer(harness, _changed({"containers": [CONTAINER | {"env": env}]}))
    await harness.settle(25)
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(400)
    assert scaling_active(harness) == ("True", "EnvironmentMissing")
    assert (replicas(harness), workers.removed) == (5, [])
    assert {worker.state for worker in workers.of(SHOP)} == {State.CONSUMING}


async def test_a_worker_that_knows_a_shorter_timeout_from_elsewhere_is_overdue_after_that_of_the_spec(
    harness: ControlHarness,
) -> None:
    workers = harness.start_workers()
    await refer(harness, _changed({"containers": [CONTAINER | {"env": [], "envFrom": [{"secretRef": {"name": "e"}}]}]}))
    await harness.settle(25)
    busy = workers.of(SHOP)[0]
    busy.in_flight, busy.report_overrides = 1, {"task_timeout_seconds": 5, "oldest_seconds": 89}
    harness.broker.depths["thumbnails"] = (0, 0)
    await harness.settle(400)
    assert workers.of(SHOP) == [busy]
    busy.report_overrides["oldest_seconds"] = 91
    await harness.settle(60)
    assert workers.of(SHOP) == []


@pytest.mark.parametrize(
    "environment",
    [
        {"env": [], "envFrom": [{"secretRef": {"name": "e"}}]},
        {"env": [{"name": "TASKQUEUE_NAME", "valueFrom": {"configMapKeyRef": {"name": "e", "key": "name"}}}]},
        {"env": [{"name": "TASKQUEUE_NAME", "value": "$(NAMESPACE)/thumbnails"}]},
    ],
    ids=["all", "one", "quoted"],
)
async def test_an_environment_from_elsewhere_is_not_judged(harness: ControlHarness, environment: Body) -> None:
    await refer(harness, _changed({"containers": [CONTAINER | environment]}))
    await harness.settle(25)
    assert scaling_active(harness) == ("True", "Ready")
