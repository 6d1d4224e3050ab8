"""TaskQueues and Secrets that a tenant gets wrong, or writes to harm, cost only themselves."""

import json
import time

from taskqueue_operator.resource.bounds import OBJECT_BYTES, OBJECT_VALUES, SPEC_CHARACTERS
from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant
from tests.unit.rabbitmq.test_secret_canary import CANARY, WRONG_SECRETS

from .test_invariants import starting

HOSTILE = {
    "deep": '{"a":' * 1_200 + "1" + "}" * 1_200,
    "deepest": '{"a":' * 9_000 + "1" + "}" * 9_000,
    "large": json.dumps({"spec": {"hostname": "x" * 2 * OBJECT_BYTES}}),
    "many": json.dumps({"spec": {"volumes": [{}] * 2 * OBJECT_VALUES}}),
    "long": json.dumps({"spec": {"hostname": "x" * SPEC_CHARACTERS}}),
}


def taskqueue(name: str, credentials: str = "rabbitmq") -> dict[str, object]:
    return {
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name},
        "spec": {
            "broker": {"secretRef": {"name": credentials}},
            "worker": {"image": "acme/app:1", "podTemplate": {}},
            "scaling": {"maxReplicas": 5},
        },
    }


def conditions(tenant: Tenant, field: str) -> dict[str, str]:
    """Read the condition Ready of each hostile object with kubectl: the parser of this test fails at them too."""
    ready = f'{{.status.conditions[?(@.type=="Ready")].{field}}}'
    path = f'jsonpath={{range .items[*]}}{{.metadata.name}}={ready}{{"\\n"}}{{end}}'
    lines = tenant.kubectl("get", "taskqueue", *HOSTILE, "-o", path).splitlines()
    return dict(line.split("=", 1) for line in lines if line)


def test_an_object_beyond_a_bound_costs_only_itself(tenant: Tenant, operator: OperatorProcess) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"maxReplicas": 5, "minReplicas": 1})
    starting(tenant, "jobs")
    for name, template in HOSTILE.items():
        text = json.dumps(taskqueue(name)).replace('"podTemplate": {}', f'"podTemplate": {template}')
        tenant.kubectl("create", "-f", "-", text=text)
    process = operator.process
    assert_only_the_hostile_are_invalid(tenant, replicas=2)
    assert operator.process is process
    assert process is not None
    assert process.poll() is None
    operator.stop()
    operator.start()
    assert_only_the_hostile_are_invalid(tenant, replicas=3)
    assert not statuses_change(tenant), "the status of an object beyond a bound is written again and again"
    tenant.kubectl("delete", "taskqueue", *HOSTILE, "--timeout=120s")


def assert_only_the_hostile_are_invalid(tenant: Tenant, *, replicas: int) -> None:
    tenant.taskqueue("jobs", scaling={"maxReplicas": 5, "minReplicas": replicas})
    eventually(lambda: tenant.replicas("jobs"), replicas)
    eventually(lambda: conditions(tenant, "reason"), dict.fromkeys(HOSTILE, "InvalidSpec"))
    assert all(message.startswith("spec.worker.podTemplate ") for message in conditions(tenant, "message").values())


def statuses_change(tenant: Tenant) -> bool:
    def versions() -> str:
        return tenant.kubectl("get", "taskqueue", *HOSTILE, "-o", "jsonpath={.items[*].metadata.resourceVersion}")

    before = versions()
    time.sleep(2)
    return versions() != before


def test_no_secret_is_quoted_wherever_a_user_puts_the_password(tenant: Tenant, operator: OperatorProcess) -> None:
    port = str(tenant.broker.amqp_port)
    reachable = {"host": "127.0.0.1", "port": port, "management-uri": tenant.broker.management_url}
    wrong = [
        *WRONG_SECRETS,
        reachable | {"username": CANARY, "password": "swapped"},
        reachable | {"username": f"amqp://app:{CANARY}@broker", "password": CANARY},
        {"uri": f"amqp://guest:guest@127.0.0.1:{port}/", "management-uri": f"http://{CANARY}:x@127.0.0.1:1/{CANARY}"},
    ]
    objects: list[dict[str, object]] = []
    for n, data in enumerate(wrong):
        metadata = {"name": f"wrong-{n}"}
        objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
        objects.append(taskqueue(f"wrong-{n}", credentials=f"wrong-{n}"))
    # Not apply: kubectl would write the Secret into an annotation.
    tenant.kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    eventually(
        lambda: [tenant.condition(f"wrong-{n}").get("status") for n in range(len(wrong))], ["False"] * len(wrong)
    )
    shown = tenant.kubectl("get", "taskqueue,event,deployment", "-o", "json") + operator.log.read_text()
    assert CANARY not in shown
    assert "SecretInvalid" in shown
