"""Scaling rules that depend on what the broker and the API server show together."""

import asyncio
import json

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from taskqueue_operator.resource.names import ANNOTATION_DRAIN, LABEL_NAME
from tests.integration.harness.eventually import eventually
from tests.integration.harness.tenant import Tenant

ONE_EACH = {"maxReplicas": 5, "readyPerReplica": 1}


def test_a_message_that_waits_behind_a_running_task_gets_a_worker(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling=ONE_EACH)
    eventually(lambda: tenant.condition("jobs").get("status"), "True")
    tenant.publish("jobs", "jobs", 1)
    eventually(lambda: tenant.replicas("jobs"), 1)
    show_ready(tenant, "jobs")
    asyncio.run(run_a_task_while_another_waits(tenant))


async def run_a_task_while_another_waits(tenant: Tenant) -> None:
    async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        await (await channel.get_queue("jobs", ensure=False)).consume(run_for_ever)
        await asyncio.to_thread(eventually, lambda: tenant.queue("jobs").get("messages_unacknowledged"), 1)
        await asyncio.to_thread(tenant.publish, "jobs", "jobs", 1)
        await asyncio.to_thread(eventually, lambda: tenant.replicas("jobs"), 2)


async def run_for_ever(_: AbstractIncomingMessage) -> None:
    """Never settle a message."""


def show_ready(tenant: Tenant, name: str) -> None:
    """Show the only pod of a TaskQueue as ready, as a kubelet does."""

    def pods() -> list[str]:
        found = tenant.plane.api.list("pod", tenant.namespace, f"{LABEL_NAME}={name}")
        return [pod["metadata"]["name"] for pod in found]

    eventually(lambda: len(pods()), 1)
    status = json.dumps({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
    tenant.kubectl("patch", "pod", *pods(), "--subresource=status", "--type=merge", f"--patch={status}")
    eventually(lambda: tenant.get("deployment", name)["status"].get("readyReplicas"), 1)


def test_neither_a_foreign_drain_annotation_nor_a_stray_pod_stops_what_follows(tenant: Tenant) -> None:
    tenant.secret()
    quick = ONE_EACH | {"idleSeconds": 1, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
    tenant.taskqueue("jobs", scaling=quick, deletionPolicy="Delete")
    eventually(lambda: tenant.condition("jobs").get("status"), "True")
    tenant.publish("jobs", "jobs", 2)
    eventually(lambda: tenant.replicas("jobs"), 2)
    tenant.kubectl("annotate", "deployment", "jobs", "--overwrite", f"{ANNOTATION_DRAIN}=9999999999.1")
    tenant.purge("jobs")
    eventually(lambda: tenant.replicas("jobs"), 0)
    stray = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stray", "labels": {LABEL_NAME: "jobs"}},
        "spec": {"containers": [{"name": "worker", "image": "acme/app:1.4"}]},
    }
    tenant.kubectl("apply", "-f", "-", text=json.dumps(stray))
    tenant.kubectl("delete", "taskqueue", "jobs", "--timeout=120s")
    assert not tenant.queue("jobs")
