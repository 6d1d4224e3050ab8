"""What a version of RabbitMQ lacks is a condition that names it; what it has works."""

from functools import partial

from tests.cluster.debian import NEWEST_RABBITMQ
from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant
from tests.integration.harness.versions import every_version

from .test_invariants import ready

LINEAR = {"maxAttempts": 3, "backoff": {"type": "Linear", "initialSeconds": 1, "maxSeconds": 2}}
LONG = {"image": "acme/celery:1", "protocol": "Plain", "acksLate": True, "taskTimeoutSeconds": 7260}
REFUSED = {"3.10": {"linear", "long"}, "4.0": {"linear"}, NEWEST_RABBITMQ: set[str]()}


def reason(tenant: Tenant, name: str) -> str | None:
    return tenant.condition(name, "TopologyReady").get("reason")


@every_version
def test_what_a_version_of_rabbitmq_lacks_is_a_condition_that_names_it(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("linear", retry=LINEAR)
    tenant.taskqueue("long", worker=LONG)
    refused = REFUSED[tenant.broker.version]
    for name in refused:
        eventually(partial(reason, tenant, name), "TopologyRefused")
        condition = tenant.condition(name, "TopologyReady")
        assert condition["status"] == "False"
        assert f"the broker is RabbitMQ {tenant.broker.version}." in condition["message"]
        assert not tenant.get("deployment", name), "its workers would rely on what the broker does not do"
        assert not tenant.queue(name)
    for name in {"linear", "long"} - refused:
        ready(tenant, name)
