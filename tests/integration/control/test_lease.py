"""Two operators, one writer: however the leader ends, the other operator becomes the only writer."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.control_plane import ControlPlane
from tests.integration.harness.eventually import eventually
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant

LEASE = "taskqueue-operator"


@pytest.fixture
def standby(operator: OperatorProcess, installed: ControlPlane, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A second operator; at the end the first operator leads again, as other tests expect."""
    second = OperatorProcess(installed.kubeconfig, tmp_path)
    second.start()
    assert second.readiness() == f"waiting for leadership, {holder(installed)} leads"
    yield second
    assert second.process is not None
    if second.process.poll() is None:
        assert second.stop() == 0
    assert operator.process is not None
    if operator.process.poll() is not None:
        operator.start()
    eventually(operator.readiness, "leading")


def holder(plane: ControlPlane, name: str = LEASE) -> str:
    """Return the holder of a Lease; empty if it has no holder, or does not exist."""
    holder: str = (plane.api.get("lease", "default", name) or {}).get("spec", {}).get("holderIdentity", "")
    return holder


def epoch(plane: ControlPlane) -> int:
    found: dict[str, Any] = json.loads(plane.kubectl("get", "lease", LEASE, "--output=json"))
    return int(found["metadata"]["annotations"]["taskqueue.dev/epoch"])


def send(operator: OperatorProcess, number: int) -> None:
    assert operator.process is not None
    operator.process.send_signal(number)


def has_work(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs")
    eventually(lambda: tenant.condition("jobs").get("status"), "True")
    tenant.mark_started("jobs")


def scales(tenant: Tenant, workers: int) -> None:
    """Assert that the leader requests `workers` workers for a backlog worth as many."""
    tenant.purge("jobs")
    tenant.publish("jobs", "jobs", workers * 20)
    begun = time.monotonic()
    eventually(lambda: tenant.replicas("jobs"), workers)
    print(f"{workers} workers requested after {time.monotonic() - begun:.1f} s")


def takes_over(other: OperatorProcess) -> None:
    begun = time.monotonic()
    eventually(other.readiness, "leading")
    print(f"leads after {time.monotonic() - begun:.1f} s")


@pytest.mark.fault
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_standby_becomes_leader_when_the_leader_ends(
    tenant: Tenant, operator: OperatorProcess, standby: OperatorProcess, end: str
) -> None:
    has_work(tenant)
    before = epoch(tenant.plane)
    operator.stop() if end == "stop" else operator.kill()
    takes_over(standby)
    scales(tenant, 3)
    assert epoch(tenant.plane) > before
    operator.start()
    assert operator.readiness() == f"waiting for leadership, {holder(tenant.plane)} leads"


@pytest.mark.fault
def test_a_leader_that_was_suspended_writes_nothing_and_ends(
    tenant: Tenant, operator: OperatorProcess, standby: OperatorProcess
) -> None:
    has_work(tenant)
    tenant.publish("jobs", "jobs", 60)
    send(operator, signal.SIGSTOP)
    logged = operator.log.stat().st_size
    try:
        takes_over(standby)
        tenant.purge("jobs")
        scales(tenant, 5)
        send(standby, signal.SIGSTOP)  # so that each write from here is one of the operator that led
        eventually(lambda: is_still(tenant))
        written_before = versions(tenant)
        send(operator, signal.SIGCONT)
        assert operator.process is not None
        assert operator.process.wait(120) == 1
        assert versions(tenant) == written_before
    finally:
        for suspended in (operator, standby):
            send(suspended, signal.SIGCONT)
    lines = [json.loads(line) for line in operator.log.read_bytes()[logged:].splitlines()]
    assert [line["message"] for line in lines if line["level"] == "critical"] == ["lost leadership"]
    assert not [line for line in lines if line["message"] == "scaled"]
    operator.start()  # on a busy machine the standby may have lost the Lease while it was suspended
    scales(tenant, 7)


def is_still(tenant: Tenant) -> bool:
    """Whether nothing is written any more, and no request is under way."""
    before = versions(tenant)
    time.sleep(2)
    return versions(tenant) == before


def versions(tenant: Tenant) -> dict[str, str]:
    """Return when the leader last wrote to each object of the tenant."""
    listed = tenant.kubectl("get", "taskqueues,deployments,events", "--output=json", "--show-managed-fields")
    return {f"{item['kind']} {item['metadata']['name']}": written(item) for item in json.loads(listed)["items"]}


def written(body: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    ours = (entry for entry in body["metadata"]["managedFields"] if entry["manager"] == "taskqueue-operator")
    return max((entry["time"] for entry in ours), default="")


@pytest.mark.fault
@pytest.mark.parametrize("seconds", [0.6, 0.9, 1.2, 1.5, 2.0])
def test_an_operator_that_is_terminated_during_its_start_releases_the_lease(
    installed: ControlPlane, tmp_path: Path, seconds: float
) -> None:
    elsewhere = {"TASKQUEUE_LEASE": f"default/alone-{seconds}", "TASKQUEUE_NAMESPACES": "default"}
    alone = OperatorProcess(installed.kubeconfig, tmp_path, **elsewhere)
    process = alone.launch()
    time.sleep(seconds)
    process.terminate()
    # Before Python itself has begun, the signal ends it.
    assert process.wait(120) in {0, -signal.SIGTERM}, alone.log.read_text()
    assert not holder(installed, f"alone-{seconds}")


RIGHTS = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]}]


def test_a_standby_needs_permissions_only_for_the_lease(
    operator: OperatorProcess, installed: ControlPlane, tmp_path: Path
) -> None:
    """It can neither write anything else nor find a broker: it cannot even read a Secret."""
    role = {"kind": "Role", "metadata": {"name": "standby", "namespace": "default"}, "rules": RIGHTS}
    subject = {"kind": "User", "name": "standby", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "Role", "name": "standby", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"kind": "RoleBinding", "metadata": role["metadata"], "roleRef": reference, "subjects": [subject]}
    documents = [{"apiVersion": "rbac.authorization.k8s.io/v1"} | document for document in (role, binding)]
    installed.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(documents))
    second = OperatorProcess(installed.identity("standby"), tmp_path)
    second.start()
    time.sleep(5)
    assert second.readiness() == f"waiting for leadership, {holder(installed)} leads"
    assert second.writes() == {}
    assert second.stop() == 0
    lines = [json.loads(line) for line in second.log.read_text().splitlines()]
    assert [line for line in lines if line["level"] != "info"] == []
    assert operator.readiness() == "leading"


@pytest.mark.fault
def test_an_api_server_outage_ends_the_leader_once_and_the_next_start_waits(
    tenant: Tenant, operator: OperatorProcess
) -> None:
    has_work(tenant)
    logged = operator.log.stat().st_size
    tenant.plane.stop_apiserver()
    try:
        assert operator.process is not None
        assert operator.process.wait(120) == 1
        # Python itself writes lines of its own about connections that the library drops.
        written = operator.log.read_bytes()[logged:].splitlines()
        lines = [json.loads(line) for line in written if line.startswith(b"{")]
        assert [line["message"] for line in lines if line["level"] == "critical"] == ["lost leadership"]
        starting = operator.launch()
        time.sleep(5)
        assert starting.poll() is None
    finally:
        tenant.plane.start_apiserver()
    eventually(operator.readiness, "leading")
    scales(tenant, 4)
