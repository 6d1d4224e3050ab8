import base64
import traceback

import pytest
import yaml

from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import Key
from tests.approved import assert_approved
from tests.cluster.control_plane import ControlPlane


def create(control_plane: ControlPlane, namespace: str, data: dict[str, bytes]) -> Key:
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rabbitmq"}, "data": encoded}
    control_plane.kubectl("-n", namespace, "apply", "-f", "-", text=yaml.safe_dump(body))
    return Key(namespace, "rabbitmq")


async def test_a_secret_is_read_byte_by_byte(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    data = {"uri": b"amqp://user:pass@host/", "tls.key": bytes(range(256)), "empty": b""}
    assert await cluster.secret(create(control_plane, namespace, data)) == data


async def test_a_secret_without_data_is_empty(
    cluster: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    assert await cluster.secret(create(control_plane, namespace, {})) == {}


async def test_a_missing_secret_is_none(cluster: KubernetesCluster, namespace: str) -> None:
    assert await cluster.secret(Key(namespace, "missing")) is None


async def test_a_forbidden_secret_is_reported_with_the_missing_permission(
    unprivileged: KubernetesCluster, control_plane: ControlPlane, namespace: str
) -> None:
    key = create(control_plane, namespace, {"password": b"s3cr3t"})
    with pytest.raises(Fault) as refused:
        await unprivileged.secret(key)
    assert refused.value.reason == Reason.API_UNAVAILABLE
    assert_approved("kubernetes.secret_forbidden", refused.value.message.replace(str(key), "NAMESPACE/NAME"))
    assert refused.value.__context__ is None
    assert "s3cr3t" not in "".join(traceback.format_exception(refused.value))
