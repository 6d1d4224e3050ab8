"""Every mistake gets a message where its maker looks, that names the field and the way out. The texts are golden."""

import time

import pytest

from tests.approved import assert_approved
from tests.cluster import ports

from .stage import Stage, eventually
from .test_invariants import ready


def complaint(stage: Stage, reason: str, name: str = "jobs") -> str:
    """Wait for Ready=False with this reason, see the same in an Event, and give the message with its names replaced."""
    condition = eventually(lambda: settled(stage, name, reason), seconds=90)
    assert condition["status"] == "False"
    message = str(condition["message"])
    eventually(lambda: reason in {said for said, _ in stage.events(name)})
    broker = stage.broker
    for value, placeholder in (
        (broker.management_url, "MANAGEMENT"),
        (f"127.0.0.1:{broker.amqp_port}", "BROKER"),
        (stage.namespace, "team"),
    ):
        message = message.replace(value, placeholder)
    return message


def settled(stage: Stage, name: str, reason: str) -> dict[str, str]:
    """Give the Ready condition once it has this reason and stays as it is: one side of the broker may fail first."""
    before = stage.condition(name)
    time.sleep(2)
    after = stage.condition(name)
    return after if before == after and after.get("reason") == reason else {}


def user(stage: Stage, *permissions: str, tags: str = "management") -> str:
    """Make a user `app` of the vhost, and say its uri."""
    name = f"app-{stage.vhost}"
    stage.http.put(f"/users/{name}", json={"password": "right", "tags": tags}).raise_for_status()
    if permissions:
        configure, write, read = permissions
        body = {"configure": configure, "write": write, "read": read}
        stage.http.put(f"/permissions/{stage.vhost}/{name}", json=body).raise_for_status()
    return f"amqp://{name}:right@127.0.0.1:{stage.broker.amqp_port}/{stage.vhost}"


def test_secret_missing(stage: Stage) -> None:
    stage.taskqueue("jobs")
    assert complaint(stage, "SecretNotFound") == (
        "Secret team/rabbitmq not found. TaskQueues read Secrets of their own namespace. "
        "Create: kubectl -n team create secret generic rabbitmq --from-literal=uri=amqp://USER:PASS@HOST/"
    )
    stage.secret()
    ready(stage, "jobs")


def test_key_missing(stage: Stage) -> None:
    stage.secret(username="app", password="secret")
    stage.taskqueue("jobs")
    assert_approved("secret.empty", complaint(stage, "SecretInvalid").replace("team/", "media/"))


def test_wrong_password(stage: Stage) -> None:
    uri = user(stage, ".*", ".*", ".*")
    stage.secret(uri=uri.replace("right", "wrong"), **{"management-uri": stage.broker.management_url})
    stage.taskqueue("jobs")
    assert_approved("broker.wrong_password", complaint(stage, "AuthenticationFailed"))


def test_wrong_vhost(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", broker={"secretRef": {"name": "rabbitmq"}, "vhost": "nowhere"})
    assert_approved("broker.no_vhost", complaint(stage, "VhostNotFound"))
    stage.taskqueue("jobs", broker={"secretRef": {"name": "rabbitmq"}, "vhost": stage.vhost})
    ready(stage, "jobs")


def test_no_permission_to_declare(stage: Stage) -> None:
    stage.secret(uri=user(stage, "^$", ".*", ".*"), **{"management-uri": stage.broker.management_url})
    stage.taskqueue("jobs")
    assert_approved("broker.operation_forbidden", complaint(stage, "PermissionDenied"))


def test_no_permission_to_use_the_management_api(stage: Stage) -> None:
    uri = user(stage, ".*", ".*", ".*", tags="")
    stage.secret(uri=uri, **{"management-uri": stage.broker.management_url})
    stage.taskqueue("jobs")
    assert_approved("broker.management_tag_missing", complaint(stage, "PermissionDenied"))


def test_broker_that_is_down_at_the_start(stage: Stage) -> None:
    stage.secret()
    stage.broker.stop()
    try:
        stage.taskqueue("jobs")
        assert "(connection refused)" in complaint(stage, "BrokerUnreachable")
    finally:
        stage.broker.start()
    ready(stage, "jobs")


@pytest.mark.parametrize(
    ("host", "why"), [("rabbit.nowhere.invalid", "host name not found"), ("127.0.0.1", "connection refused")]
)
def test_broker_address_wrong(stage: Stage, host: str, why: str) -> None:
    (port,) = ports.free(1)
    stage.secret(uri=f"amqp://guest:guest@{host}:{port}/{stage.vhost}")
    stage.taskqueue("jobs")
    message = complaint(stage, "BrokerUnreachable")
    assert_approved("broker.unreachable", message.replace(f"{host}:{port}", "BROKER").replace(why, "WHY"))


def test_management_api_unreachable(stage: Stage) -> None:
    (port,) = ports.free(1)
    uri = f"{stage.broker.url}{stage.vhost}"
    stage.secret(uri=uri, **{"management-uri": f"http://127.0.0.1:{port}"})
    stage.taskqueue("jobs")
    message = complaint(stage, "ManagementUnreachable").replace(f"http://127.0.0.1:{port}", "MANAGEMENT")
    assert_approved("broker.management_unreachable", message.replace("connection refused", "WHY"))


def test_queue_exists_with_another_type(stage: Stage) -> None:
    stage.secret()
    classic = {"durable": True, "arguments": {"x-queue-type": "classic"}}
    stage.http.put(stage.path("queues", "celery"), json=classic).raise_for_status()
    stage.taskqueue("jobs", queue={"name": "celery"})
    assert_approved("topology.queue_type", complaint(stage, "ImmutableDrift"))
    assert not stage.read(stage.path("exchanges", "celery.in")), "nothing is made before all of it can be"
    stage.taskqueue("jobs", queue={"name": "celery", "external": True})
    ready(stage, "jobs")
    stage.publish("amq.default", "celery", 21)
    eventually(lambda: stage.replicas("jobs"), 2)


def test_external_queue_missing(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("jobs", queue={"name": "celery", "external": True})
    assert complaint(stage, "QueueNotFound") == (
        'External queue "celery" is not there. Declare it, correct spec.queue.name or spec.broker.vhost, '
        "or remove external: true to have it made."
    )
    stage.http.put(stage.path("queues", "celery"), json={"durable": True}).raise_for_status()
    ready(stage, "jobs")


def test_name_taken_by_another_taskqueue(stage: Stage) -> None:
    stage.secret()
    stage.taskqueue("first", queue={"name": "shared"})
    ready(stage, "first")
    stage.taskqueue("jobs", queue={"name": "shared"})
    conflict = complaint(stage, "NameConflict").replace('Queue "shared"', 'KIND "NAME"')
    assert_approved("topology.name_conflict", conflict.replace("team/first", "media/other"))
    assert stage.condition("first")["status"] == "True"


def test_deployment_of_that_name_that_is_not_ours(stage: Stage) -> None:
    stage.secret()
    stage.kubectl("create", "deployment", "jobs", "--image=acme/other:1", "--replicas=3")
    stage.taskqueue("jobs")
    assert complaint(stage, "DeploymentConflict") == (
        "Deployment team/jobs exists and does not belong to this TaskQueue. Delete it "
        "(kubectl -n team delete deployment jobs), or give the TaskQueue another name."
    )
    assert stage.replicas("jobs") == 3


def test_invalid_pod_template(stage: Stage) -> None:
    stage.secret()
    template = {"spec": {"containers": [{"name": "worker", "imagePullPolicy": "Sometimes"}]}}
    stage.taskqueue("jobs", worker={"image": "acme/app:1", "podTemplate": template})
    text = (
        'spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": '
        'supported values: "Always", "IfNotPresent", "Never"'
    )
    message = complaint(stage, "PodTemplateInvalid").replace(text, "TEXT OF THE API SERVER")
    assert_approved("kubernetes.deployment_refused", message)
    stage.taskqueue("jobs", worker={"image": "acme/app:1"})
    ready(stage, "jobs")


def test_field_set_twice(stage: Stage) -> None:
    stage.secret()
    template = {"spec": {"containers": [{"name": "worker", "image": "acme/other:2"}]}}
    stage.taskqueue("jobs", worker={"image": "acme/app:1", "podTemplate": template})
    assert complaint(stage, "FieldConflict") == (
        "spec.worker.image and spec.worker.podTemplate.spec.containers[name=worker].image are both set. "
        "Keep one of them."
    )


def test_min_above_max_is_refused_at_once(stage: Stage) -> None:
    with pytest.raises(RuntimeError, match=r"spec\.scaling\.minReplicas: Invalid value"):
        stage.taskqueue("jobs", scaling={"minReplicas": 3, "maxReplicas": 2})


def test_names_too_long_are_refused_at_once(stage: Stage) -> None:
    with pytest.raises(RuntimeError, match=r"metadata\.name is longer than 63 characters"):
        stage.taskqueue("j" * 64)
    with pytest.raises(RuntimeError, match=r"spec.queue.name: Too long: may not be more than 200 bytes"):
        stage.taskqueue("jobs", queue={"name": "q" * 201})


def test_a_poison_taskqueue_never_slows_the_others(stage: Stage) -> None:
    for number in range(20):
        name = f"poison-{number}"
        stage.secret(name, uri=f"amqp://guest:guest@rabbit-{number}.nowhere.invalid/")
        stage.taskqueue(name, broker={"secretRef": {"name": name}})
    stage.secret()
    stage.taskqueue("jobs")
    ready(stage, "jobs")
    stage.publish("jobs", "jobs", 21)
    eventually(lambda: stage.replicas("jobs"), 2)
