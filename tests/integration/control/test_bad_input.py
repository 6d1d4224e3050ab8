"""Every mistake gets a message where its maker looks, that names the field and the way out. The texts are golden."""

import socket
import time

import pytest

from taskqueue_operator.rabbitmq.faults import CAUSES
from tests.approved import assert_approved
from tests.cluster import ports
from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

from .test_invariants import ready, starting

CAUSE = dict(CAUSES)


def complaint(tenant: Tenant, reason: str, name: str = "jobs") -> str:
    """Wait for Ready=False with this reason, see the same in an Event, and give the message with its names replaced."""
    condition = eventually(lambda: settled(tenant, name, reason), seconds=120)
    assert condition["status"] == "False"
    message = str(condition["message"])
    eventually(lambda: reason in {said for said, _ in tenant.events(name)})
    broker = tenant.broker
    for value, placeholder in (
        (broker.management_url, "MANAGEMENT"),
        (f"127.0.0.1:{broker.amqp_port}", "BROKER"),
        (tenant.namespace, "team"),
    ):
        message = message.replace(value, placeholder)
    return message


def settled(tenant: Tenant, name: str, reason: str) -> dict[str, str]:
    """Give the Ready condition once it has this reason and stays as it is: one side of the broker may fail first."""
    before = tenant.condition(name)
    time.sleep(2)
    after = tenant.condition(name)
    return after if before == after and after.get("reason") == reason else {}


def user(tenant: Tenant, *permissions: str, tags: str = "management") -> str:
    """Make a user `app` of the vhost, and say its uri."""
    name = f"app-{tenant.vhost}"
    tenant.http.put(f"/users/{name}", json={"password": "right", "tags": tags}).raise_for_status()
    if permissions:
        configure, write, read = permissions
        body = {"configure": configure, "write": write, "read": read}
        tenant.http.put(f"/permissions/{tenant.vhost}/{name}", json=body).raise_for_status()
    return f"amqp://{name}:right@127.0.0.1:{tenant.broker.amqp_port}/{tenant.vhost}"


def test_a_missing_secret_is_reported(tenant: Tenant) -> None:
    tenant.taskqueue("jobs")
    assert complaint(tenant, "SecretNotFound") == (
        "Secret team/rabbitmq not found. TaskQueues read Secrets of their own namespace. "
        "Create: kubectl -n team create secret generic rabbitmq --from-literal=uri=amqp://USER:PASS@HOST/"
    )
    tenant.secret()
    ready(tenant, "jobs")


def test_a_missing_key_of_the_secret_is_reported(tenant: Tenant) -> None:
    tenant.secret(username="app", password="secret")
    tenant.taskqueue("jobs")
    assert_approved("secret.empty", complaint(tenant, "SecretInvalid").replace("team/", "media/"))


def test_a_wrong_password_is_reported(tenant: Tenant) -> None:
    uri = user(tenant, ".*", ".*", ".*")
    tenant.secret(uri=uri.replace("right", "wrong"), **{"management-uri": tenant.broker.management_url})
    tenant.taskqueue("jobs")
    message = complaint(tenant, "AuthenticationFailed")
    if message.startswith("Management"):  # whichever of the two refuses first
        assert_approved("broker.wrong_management_password", message)
    else:
        assert_approved("broker.wrong_password", message)


def test_a_missing_vhost_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", broker={"secretRef": {"name": "rabbitmq"}, "vhost": "nowhere"})
    assert_approved("broker.no_vhost", complaint(tenant, "VhostNotFound"))
    tenant.taskqueue("jobs", broker={"secretRef": {"name": "rabbitmq"}, "vhost": tenant.vhost})
    ready(tenant, "jobs")


def test_a_missing_permission_to_declare_is_reported(tenant: Tenant) -> None:
    tenant.secret(uri=user(tenant, "^$", ".*", ".*"), **{"management-uri": tenant.broker.management_url})
    tenant.taskqueue("jobs")
    assert_approved("broker.operation_forbidden", complaint(tenant, "PermissionDenied"))


def test_a_missing_permission_for_the_management_api_is_reported(tenant: Tenant) -> None:
    uri = user(tenant, ".*", ".*", ".*", tags="")
    tenant.secret(uri=uri, **{"management-uri": tenant.broker.management_url})
    tenant.taskqueue("jobs")
    assert_approved("broker.management_tag_missing", complaint(tenant, "PermissionDenied"))


def test_a_broker_that_is_down_at_the_start_is_reported_until_it_answers(tenant: Tenant) -> None:
    tenant.secret()
    tenant.broker.stop()
    try:
        tenant.taskqueue("jobs")
        assert CAUSE[ConnectionRefusedError] in complaint(tenant, "BrokerUnreachable")
    finally:
        tenant.broker.start()
    ready(tenant, "jobs")


@pytest.mark.parametrize(
    ("host", "why"), [("rabbit.nowhere.invalid", CAUSE[socket.gaierror]), ("127.0.0.1", CAUSE[ConnectionRefusedError])]
)
def test_a_wrong_address_of_the_broker_is_reported(tenant: Tenant, host: str, why: str) -> None:
    (port,) = ports.free(1)
    tenant.secret(uri=f"amqp://guest:guest@{host}:{port}/{tenant.vhost}")
    tenant.taskqueue("jobs")
    message = complaint(tenant, "BrokerUnreachable")
    assert_approved("broker.unreachable", message.replace(f"{host}:{port}", "BROKER").replace(why, "WHY"))


def test_an_unreachable_management_api_is_reported(tenant: Tenant) -> None:
    (port,) = ports.free(1)
    uri = f"{tenant.broker.url}{tenant.vhost}"
    tenant.secret(uri=uri, **{"management-uri": f"http://127.0.0.1:{port}"})
    tenant.taskqueue("jobs")
    message = complaint(tenant, "ManagementUnreachable").replace(f"http://127.0.0.1:{port}", "MANAGEMENT")
    assert_approved("broker.management_unreachable", message.replace(CAUSE[ConnectionRefusedError], "WHY"))


def test_a_wrong_path_of_the_management_api_is_reported(tenant: Tenant) -> None:
    uri = f"{tenant.broker.url}{tenant.vhost}"
    tenant.secret(uri=uri, **{"management-uri": f"{tenant.broker.management_url}/rabbit"})
    tenant.taskqueue("jobs")
    assert_approved("broker.wrong_management_path", complaint(tenant, "ManagementUnreachable"))


def test_an_existing_queue_of_another_type_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    classic = {"durable": True, "arguments": {"x-queue-type": "classic"}}
    tenant.http.put(tenant.path("queues", "celery"), json=classic).raise_for_status()
    tenant.taskqueue("jobs", queue={"name": "celery"})
    assert_approved("topology.queue_type", complaint(tenant, "ImmutableDrift"))
    assert not tenant.read(tenant.path("exchanges", "celery.in")), "nothing is made before all of it can be"
    tenant.taskqueue("jobs", queue={"name": "celery", "external": True})
    message = complaint(tenant, "DeadLetterQueueMissing")
    assert_approved("topology.external_queue_without_dead_letter_queue", message)
    assert not tenant.get("deployment", "jobs"), "workers that cannot keep a failed task do not start"
    tenant.http.put(tenant.path("queues", "celery.dlq"), json={"durable": True}).raise_for_status()
    ready(tenant, "jobs")
    tenant.publish("amq.default", "celery", 21)
    eventually(lambda: tenant.replicas("jobs"), 2)


def test_an_external_queue_that_its_workers_declare_is_reported_until_it_exists(tenant: Tenant) -> None:
    tenant.secret()
    plain = {"image": "acme/celery:1", "protocol": "Plain"}
    scaling = {"maxReplicas": 2, "minReplicas": 1}
    tenant.taskqueue("jobs", queue={"name": "celery", "external": True}, worker=plain, scaling=scaling)
    assert_approved("topology.external_queue_missing", complaint(tenant, "QueueNotFound"))
    eventually(lambda: tenant.replicas("jobs"), 1)
    tenant.http.put(tenant.path("queues", "celery"), json={"durable": True}).raise_for_status()
    starting(tenant, "jobs")


def test_a_queue_on_which_workers_do_harm_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    stream = {"durable": True, "arguments": {"x-queue-type": "stream"}}
    tenant.http.put(tenant.path("queues", "celery"), json=stream).raise_for_status()
    tenant.taskqueue("first")
    tenant.taskqueue("second", queue={"name": "celery", "external": True})
    tenant.taskqueue("jobs", queue={"name": "first", "external": True})
    tenant.taskqueue("first.in", exchange={"type": "Fanout"})
    ready(tenant, "first")
    assert_approved("topology.external_queue_is_a_stream", complaint(tenant, "TopologyRefused", "second"))
    owned = complaint(tenant, "NameConflict").replace('"first"', '"celery"').replace("team/first", "media/other")
    assert_approved("topology.external_queue_of_a_taskqueue", owned)
    reserved = complaint(tenant, "InvalidSpec", "first.in").replace("first.in", "NAME", 1)
    fields = "spec.queue.name and spec.exchange.name"
    assert_approved("topology.name_reserved_by_operator", reserved.replace(fields, "FIELD"))
    assert not tenant.queue("first.in.in")


def test_a_queue_name_of_another_taskqueue_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("first", queue={"name": "shared"})
    ready(tenant, "first")
    tenant.taskqueue("jobs", queue={"name": "shared"})
    conflict = complaint(tenant, "NameConflict").replace('Queue "shared"', 'KIND "NAME"')
    assert_approved("topology.name_conflict", conflict.replace("team/first", "media/other"))
    assert tenant.condition("first")["status"] == "True"


def test_a_deployment_of_another_owner_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    tenant.kubectl("create", "deployment", "jobs", "--image=acme/other:1", "--replicas=3")
    tenant.taskqueue("jobs")
    assert complaint(tenant, "DeploymentConflict") == (
        "Deployment team/jobs exists and does not belong to this TaskQueue. Delete it "
        "(kubectl -n team delete deployment jobs), or give the TaskQueue another name."
    )
    assert tenant.replicas("jobs") == 3


def test_an_invalid_pod_template_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    template = {"spec": {"containers": [{"name": "worker", "imagePullPolicy": "Sometimes"}]}}
    tenant.taskqueue("jobs", worker={"image": "acme/app:1", "podTemplate": template})
    text = (
        'spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": '
        'supported values: "Always", "IfNotPresent", "Never"'
    )
    message = complaint(tenant, "PodTemplateInvalid").replace(text, "TEXT OF THE API SERVER")
    assert_approved("kubernetes.deployment_refused", message)
    tenant.taskqueue("jobs", worker={"image": "acme/app:1"})
    ready(tenant, "jobs")


def test_a_pod_template_with_access_to_the_node_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    template: dict[str, object] = {"spec": {"hostPID": True}}
    tenant.taskqueue("jobs", worker={"image": "acme/app:1", "podTemplate": template})
    assert "spec.worker.podTemplate.spec.hostPID" in complaint(tenant, "PodTemplateForbidden")
    assert not tenant.kubectl("get", "deployments", "--output=name")
    template = {"spec": {"serviceAccountName": "admin"}}
    tenant.taskqueue("jobs", worker={"image": "acme/app:1", "podTemplate": template})
    eventually(lambda: "serviceAccountName" in complaint(tenant, "PodTemplateForbidden"))


def test_a_field_that_is_set_twice_is_reported(tenant: Tenant) -> None:
    tenant.secret()
    template = {"spec": {"containers": [{"name": "worker", "image": "acme/other:2"}]}}
    tenant.taskqueue("jobs", worker={"image": "acme/app:1", "podTemplate": template})
    assert_approved("pod_template.conflict_image", complaint(tenant, "FieldConflict"))


def test_the_api_server_rejects_min_replicas_above_max_replicas(tenant: Tenant) -> None:
    with pytest.raises(RuntimeError, match=r"spec\.scaling\.minReplicas: Invalid value"):
        tenant.taskqueue("jobs", scaling={"minReplicas": 3, "maxReplicas": 2})


def test_the_api_server_rejects_names_that_are_too_long(tenant: Tenant) -> None:
    with pytest.raises(RuntimeError, match=r"metadata\.name is longer than 63 characters"):
        tenant.taskqueue("j" * 64)
    with pytest.raises(RuntimeError, match=r"spec.queue.name: Too long: may not be more than 200 bytes"):
        tenant.taskqueue("jobs", queue={"name": "q" * 201})


def test_taskqueues_with_faults_do_not_delay_the_others(tenant: Tenant) -> None:
    for number in range(20):
        name = f"poison-{number}"
        tenant.secret(name, uri=f"amqp://guest:guest@rabbit-{number}.nowhere.invalid/")
        tenant.taskqueue(name, broker={"secretRef": {"name": name}})
    tenant.secret()
    tenant.taskqueue("jobs")
    ready(tenant, "jobs")
    tenant.publish("jobs", "jobs", 21)
    eventually(lambda: tenant.replicas("jobs"), 2)
