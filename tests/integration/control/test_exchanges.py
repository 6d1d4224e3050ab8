"""TaskQueues that share exchanges, and the exchanges that a spec names and others declare, on a real broker."""

from tests.approved import assert_approved
from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

from .test_bad_input import complaint
from .test_drift import repairs
from .test_invariants import ready

FED = "/bindings/{vhost}/e/docs/e/pdf.in"


def test_taskqueues_share_exchanges_and_an_alternate_exchange(tenant: Tenant) -> None:
    """One gets what no binding of the exchange matches, and another messages of two exchanges."""
    tenant.secret()
    docs = {"name": "docs", "type": "Headers", "alternateExchange": "unrouted"}
    both = [{"arguments": {"format": "pdf"}}, {"exchange": "unrouted", "routingKey": ""}]
    tenant.taskqueue("pdf", exchange=docs, bindings=both)
    missing = complaint(tenant, "ExchangeNotFound", "pdf").replace('"unrouted"', '"lost"')
    assert_approved("topology.alternate_exchange_not_found", missing)
    assert not tenant.queue("pdf"), "nothing is created before all of it can be"

    tenant.taskqueue("unrouted", exchange={"type": "Fanout"})
    ready(tenant, "pdf")
    tenant.taskqueue("png", exchange=docs, bindings=[{"arguments": {"format": "png"}}])
    ready(tenant, "png")

    tenant.publish("docs", "", 3)
    eventually(lambda: backlog(tenant, "unrouted"), 3)
    eventually(lambda: backlog(tenant, "pdf"), 3)
    assert not backlog(tenant, "png")

    (fed,) = tenant.http.get(FED.format(vhost=tenant.vhost)).json()
    assert fed["arguments"] == {"format": "pdf"}
    path = f"{FED.format(vhost=tenant.vhost)}/{fed['properties_key']}"
    tenant.http.delete(path).raise_for_status()
    (message,) = eventually(lambda: repairs(tenant, "pdf"))
    assert 'binding from exchange "docs" to exchange "pdf.in" with arguments {format: pdf} was missing' in message
    assert tenant.http.get(path).is_success


def test_a_binding_from_the_exchange_of_another_taskqueue_goes_when_the_spec_has_it_no_longer(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("events", exchange={"type": "Topic"})
    tenant.taskqueue("jobs", bindings=[{"exchange": "events", "routingKey": "image.*"}])
    ready(tenant, "jobs")
    tenant.publish("events", "image.new", 1)
    eventually(lambda: backlog(tenant, "jobs"), 1)

    tenant.taskqueue("jobs")
    eventually(lambda: not tenant.http.get(f"/bindings/{tenant.vhost}/e/events/e/jobs.in").json())
    assert tenant.http.get(f"/bindings/{tenant.vhost}/e/jobs/e/jobs.in").json()


def backlog(tenant: Tenant, name: str) -> int:
    """Return the ready messages that the status shows."""
    status = tenant.get("taskqueue", name).get("status", {})
    return int(status.get("backlog", {}).get("ready") or 0)
