"""The Lease on a real API server: what it holds, and whom it refuses."""

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


async def test_it_is_made_and_read_as_it_was_written(
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


async def test_it_is_renewed_and_released_and_what_others_wrote_on_it_stays(
    leases: KubernetesLease, control_plane: ControlPlane, namespace: str
) -> None:
    await leases.write(CLAIM)
    control_plane.kubectl("-n", namespace, "label", "lease", "scaler", "team=platform")
    there = await leases.read()
    assert there is not None
    renewed = await leases.write(replace(there, renewed=NOW + timedelta(seconds=3)))
    assert (renewed.holder, renewed.renewed) == ("pod-1", NOW + timedelta(seconds=3))
    released = await leases.write(replace(renewed, holder=""))
    assert (released.holder, released.epoch) == ("", CLAIM.epoch)
    assert shown(control_plane, namespace)["metadata"]["labels"] == {"team": "platform"}


async def test_of_two_who_make_it_one_is_refused(leases: KubernetesLease) -> None:
    await leases.write(CLAIM)
    with pytest.raises(Conflict):
        await leases.write(replace(CLAIM, holder="pod-2"))


async def test_whoever_read_an_older_one_is_refused(leases: KubernetesLease) -> None:
    made = await leases.write(CLAIM)
    await leases.write(replace(made, renewed=NOW + timedelta(seconds=3)))
    with pytest.raises(Conflict):
        await leases.write(replace(made, holder="pod-2"))
    there = await leases.read()
    assert there is not None
    assert there.holder == "pod-1"


async def test_one_that_was_deleted_is_not_renewed(
    leases: KubernetesLease, control_plane: ControlPlane, namespace: str
) -> None:
    made = await leases.write(CLAIM)
    control_plane.kubectl("-n", namespace, "delete", "lease", "scaler")
    with pytest.raises(Conflict):
        await leases.write(made)
    assert await leases.read() is None


async def test_one_that_people_made_or_marred_is_understood(
    leases: KubernetesLease, control_plane: ControlPlane, namespace: str
) -> None:
    metadata = {"name": "scaler", "namespace": namespace, "annotations": {"taskqueue.dev/epoch": "soon"}}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    control_plane.kubectl("create", "-f", "-", text=json.dumps(body))
    there = await leases.read()
    assert there == Lease()
    assert (await leases.write(replace(CLAIM, version=there.version))).holder == "pod-1"


async def test_without_rights_it_says_where_they_come_from(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.identity("stranger")))
    leases = KubernetesLease(await connect(), Key(namespace, "scaler"), seconds=15)
    with pytest.raises(Fault, match=f"cannot read Lease {namespace}/scaler: .* permissions of the chart"):
        await leases.read()
    with pytest.raises(Fault, match=f"cannot write Lease {namespace}/scaler: "):
        await leases.write(CLAIM)
    await leases.close()


async def test_in_a_namespace_that_is_not_there_it_says_so(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    leases = KubernetesLease(await connect(), Key("nowhere", "scaler"), seconds=15)
    with pytest.raises(Fault, match='namespaces "nowhere" not found'):
        await leases.write(CLAIM)
    await leases.close()
