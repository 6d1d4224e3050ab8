"""What another client changes on a real broker is repaired, with an Event that names it."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

from .test_invariants import ready

FED: Final = "/bindings/{vhost}/e/{name}/e/{name}.in"
FAULTS: Final[Mapping[str, str]] = {
    "exchange": "/exchanges/{vhost}/{name}",
    "private": "/exchanges/{vhost}/{name}.in",
    "binding": FED + "/{name}",
    "queue": "/queues/{vhost}/{name}",
    "letters": "/queues/{vhost}/{name}.dlq",
    "policy": "/policies/{vhost}/{name}.timeout",
}
"""Path of what is deleted, by the name of the TaskQueue."""
NAMED: Final[Mapping[str, str]] = {
    "exchange": 'exchange "exchange" was missing',
    "private": 'exchange "private.in" was missing',
    "binding": 'binding from exchange "binding" to exchange "binding.in" with routing key "binding" was missing',
    "letters": 'queue "letters.dlq" was missing (it was empty when it was last read)',
    "policy": 'policy "policy.timeout" was missing',
    "changed": 'policy "changed.timeout" was changed',
}
PLAIN: Final = {"image": "acme/celery:1", "protocol": "Plain", "taskTimeoutSeconds": 7260}


def test_each_kind_of_drift_is_repaired_with_an_event_that_names_it(tenant: Tenant) -> None:
    names = [*FAULTS, "changed", "untouched"]
    tenant.secret()
    for name in names:
        tenant.taskqueue(
            name, queue={"type": "Classic"}, worker=PLAIN, scaling={"maxReplicas": 1, "activationReady": 5}
        )
    for name in names:
        ready(tenant, name)
    tenant.publish("queue", "queue", 3)
    eventually(lambda: tenant.get("taskqueue", "queue")["status"].get("backlog", {}).get("ready"), 3)
    policy = tenant.read(tenant.path("policies", "changed.timeout"))

    for name, path in FAULTS.items():
        tenant.http.delete(path.format(vhost=tenant.vhost, name=name)).raise_for_status()
    body = policy | {"definition": {"max-length": 5}}
    tenant.http.put(tenant.path("policies", "changed.timeout"), json=body).raise_for_status()

    for name, named in NAMED.items():
        (message,) = eventually(partial(repairs, tenant, name))
        assert named in message, "and nothing that went with it"
    (message,) = eventually(lambda: repairs(tenant, "queue"))
    assert 'queue "queue" was missing (the 3 messages that were last seen in it are lost)' in message
    assert not repairs(tenant, "untouched")
    for name in names:
        assert tenant.http.get(FED.format(vhost=tenant.vhost, name=name)).json(), "publishers reach the queue again"
        assert tenant.queue(name)
        assert tenant.queue(f"{name}.dlq")
        assert "consumer-timeout" in tenant.read(tenant.path("policies", f"{name}.timeout"))["definition"]
        assert tenant.condition(name)["status"] == "True"


def repairs(tenant: Tenant, name: str) -> list[str]:
    return [message for reason, message in tenant.events(name) if reason == "TopologyRepaired"]
