"""Reads and conditional writes of the Lease, on a real API server."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.lease import KubernetesLease
from taskqueue_operator.resource.faults import Conflict, Fault
from taskqueue_operator.resource.lease import Lease
from taskqueue_operator.resource.names import Key
from tests.cluster.control_plane import ControlPlane

NOW = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
CLAIM = Lease("pod-1", 1767268800, 1, NOW, NOW)


@pytest.fixture
async def leases(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubernetesLease]:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    made = KubernetesLease(await connect(), Key(namespace, "scaler"), seconds=15)
    yield made
    await made.close()


def shown(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(plane.kubectl("-n", namespace, "get", "lease", "scaler", "--output=json"))
    return body


async def test_a_created_lease_is_read_as_it_was_written(
    leases: KubernetesLease, control_plane: ControlPlane, namespace: str
) -> None:
    assert await leases.read() is None
    made = await leases.write(CLAIM)
    assert made == CLAIM
    assert made.version
    assert await leases.read() == CLAIM
    body = shown(control_plane, namespace)
    assert body["metadata"]["annotations"] == {"taskqueue.dev/epoch": "1767268800"}
    assert body["spec"] == {
        "holderIdentity": "pod-1",
        "leaseDurationSeconds": 15,
        "leaseTransitions": 1,
        "acquireTime": "2026-01-01T12:00:00.123456Z",
        "renewTime": "2026-01-01T12:00:00.123456Z",
    }


async def test_renewal_and_release_keep_labels_of_others(
    leases: KubernetesLease, control_plane: ControlPlane, namespace: str
) -> None:
    await leases.write(CLAIM)
    control_plane.kubectl("-n", namespace, "label", "lease", "scaler", "team=platform")
    actual = await leases.read()
    assert actual is not None
    renewed = await leases.write(replace(actual, renewed=NOW + timedelta(seconds=3)))
    assert (renewed.holder, renewed.renewed) == ("pod-1", NOW + timedelta(seconds=3))
    released = await leases.write(replace(renewed, holder=""))
    assert (released.holder, released.epoch) == ("", CLAIM.epoch)
    assert shown(control_plane, namespace)["metadata"]["labels"] == {"team": "platform"}


async def test_the_second_creation_of_the_lease_is_a_conflict(leases: KubernetesLease) -> None:
    await leases.write(CLAIM)
    with pytest.raises(Conflict):
        await leases.write(replace(CLAIM, holder="pod-2"))


async def test_a_write_based_on_an_older_lease_is_a_conflict(leases: KubernetesLease) -> None:
    made = await leases.write(CLAIM)
    await leases.write(replace(made, renewed=NOW + timedelta(seconds=3)))
    with pytest.raises(Conflict):
        await leases.write(replace(made, holder="pod-2"))
    actual = await leases.read()
    assert actual is not None
    assert actual.holder == "pod-1"


async def test_the_renewal_of_a_deleted_lease_is_a_conflict(
    leases: KubernetesLease, control_plane: ControlPlane, namespace: str
) -> None:
    made = await leases.write(CLAIM)
    control_plane.kubectl("-n", namespace, "delete", "lease", "scaler")
    with pytest.raises(Conflict):
        await leases.write(made)
    assert await leases.read() is None


async def test_a_lease_with_invalid_fields_counts_as_free(
    leases: KubernetesLease, control_plane: ControlPlane, namespace: str
) -> None:
    metadata = {"name": "scaler", "namespace": namespace, "annotations": {"taskqueue.dev/epoch": "soon"}}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    control_plane.kubectl("create", "-f", "-", text=json.dumps(body))
    actual = await leases.read()
    assert actual == Lease()
    assert (await leases.write(replace(CLAIM, version=actual.version))).holder == "pod-1"


async def test_missing_permissions_for_the_lease_are_reported_with_the_way_out(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.identity("stranger")))
    leases = KubernetesLease(await connect(), Key(namespace, "scaler"), seconds=15)
    with pytest.raises(Fault, match=f"cannot read Lease {namespace}/scaler: .* permissions of the chart"):
        await leases.read()
    with pytest.raises(Fault, match=f"cannot write Lease {namespace}/scaler: "):
        await leases.write(CLAIM)
    await leases.close()


async def test_a_missing_namespace_of_the_lease_is_reported(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    leases = KubernetesLease(await connect(), Key("nowhere", "scaler"), seconds=15)
    with pytest.raises(Fault, match='namespaces "nowhere" not found'):
        await leases.write(CLAIM)
    await leases.close()
