"""What workers do and cannot do shows in the status: real workers on a real broker, and pods without a kubelet."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractIncomingMessage

from tests.integration.harness.eventually import eventually
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.tenant import Tenant
from tests.integration.rabbitmq.management_proxy import LONG_REASON, REFUSING, proxied

from .test_deployment import container, pods, set_pod_status
from .test_invariants import ready

PLAIN = {"image": "acme/celery:1", "protocol": "Plain", "acksLate": True}
ONE = {"minReplicas": 1, "maxReplicas": 1}


def test_dead_letters_that_their_queue_refuses_are_a_condition_until_it_takes_them(
    tenant: Tenant, operator: OperatorProcess, tmp_path: Path
) -> None:
    tenant.secret()
    # Classic: a Quorum queue takes a few messages more than its maximum length.
    tenant.taskqueue("jobs", scaling=ONE, queue={"type": "Classic"})
    kubelet = FakeKubelet(tenant, "jobs", tenant.broker, tmp_path)
    try:
        kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
        tenant.policy("full", "^jobs[.]dlq$", {"max-length": 0, "overflow": "reject-publish"}, priority=1)
        tenant.publish("jobs", "jobs", 1)  # without a type: no handler
        kubelet.until(lambda: tenant.condition("jobs").get("reason"), "DeadLettersBlocked")
        assert tenant.condition("jobs", "WorkersAvailable")["reason"] == "DeadLettersBlocked"
        eventually(lambda: "DeadLettersBlocked" in dict(tenant.events("jobs")))
        assert shown(tenant, operator, "jobs", "Ready") == "DeadLettersBlocked"
        assert '"reason":"DeadLettersBlocked"' in operator.log.read_text()
        assert tenant.queue("jobs")["messages"] == 1, "the worker holds it"
        tenant.http.delete(tenant.path("policies", "full")).raise_for_status()
        eventually(lambda: tenant.queue("jobs.dlq").get("messages"), 1)
        ready(tenant, "jobs")
    finally:
        kubelet.close()


def test_a_declaration_that_rabbitmq_refuses_to_a_worker_is_explained(
    tenant: Tenant, operator: OperatorProcess
) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling=ONE, worker=PLAIN)
    (pod,) = eventually(lambda: pods(tenant))
    assert container(tenant)["terminationMessagePolicy"] == "FallbackToLogsOnError"
    set_pod_status(tenant, pod, ready=True)
    ready(tenant, "jobs")
    crash(tenant, pod, "")
    eventually(lambda: tenant.condition("jobs").get("reason"), "WorkersFailing")
    assert "workers start, and end again while they run" in tenant.condition("jobs")["message"]
    crash(tenant, pod, f"login with CANARY\n{asyncio.run(refusal(tenant))}\nCANARY")
    eventually(lambda: 'declaration of queue "jobs"' in tenant.condition("jobs")["message"])
    assert re.search(r"argument x-[a-z-]+ differs from that of the queue", tenant.condition("jobs")["message"])
    assert "CANARY" not in json.dumps([tenant.get("taskqueue", "jobs"), tenant.events("jobs")])
    assert "CANARY" not in operator.log.read_text()


async def refusal(tenant: Tenant) -> str:
    """Declare the queue as articles show it; return the answer of the broker as the log of a worker has it."""
    async with await aio_pika.connect(f"{tenant.broker.url}{tenant.vhost}") as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed) as caught:
            await channel.declare_queue("jobs", durable=True)
    return f"{type(caught.value).__name__}: {caught.value}"


def test_plain_workers_that_consume_after_sigterm_or_another_queue_are_named(
    tenant: Tenant, operator: OperatorProcess
) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"minReplicas": 2, "maxReplicas": 2}, worker=PLAIN)
    first, second = eventually(lambda: names if len(names := pods(tenant)) == 2 else [])
    for pod in (first, second):
        assign_node(tenant, pod)
        set_pod_status(tenant, pod, ready=True)
    tenant.publish("jobs", "jobs", 1)
    try:
        asyncio.run(consume_after_sigterm(tenant, operator, first, second))
    finally:
        tenant.kubectl("delete", "pod", "--all", "--force", "--grace-period=0", "--wait=false")


async def consume_after_sigterm(tenant: Tenant, operator: OperatorProcess, first: str, second: str) -> None:
    """Consume as a process in the first pod, with a prefetch of one."""

    async def until_shown(reason: str) -> None:
        await asyncio.to_thread(eventually, lambda: shown(tenant, operator, "jobs", "ScalingActive"), reason)

    held, closed = asyncio.Queue[AbstractIncomingMessage](), asyncio.Event()
    url = f"{tenant.broker.url}{tenant.vhost}"
    async with await aio_pika.connect(url, client_properties={"connection_name": first}) as connection:
        connection.close_callbacks.add(lambda *_: closed.set())
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        await (await channel.get_queue("jobs", ensure=False)).consume(held.put)
        await (await channel.declare_queue("emails")).consume(held.put)
        task = await held.get()
        # While a pod terminates, the operator looks at consumers every few seconds.
        await asyncio.to_thread(tenant.kubectl, "delete", "pod", second, "--wait=false")
        await until_shown("OtherQueuesConsumed")
        await asyncio.to_thread(tenant.kubectl, "delete", "pod", first, "--wait=false")
        await until_shown("WorkersInterrupted")
        assert not closed.is_set(), "it holds a message"
        await task.ack()
        await asyncio.wait_for(closed.wait(), 120)
    await asyncio.to_thread(end, tenant, second, 137)
    await asyncio.to_thread(eventually, lambda: "ended with exit code 137" in operator.log.read_text())


def test_a_reason_of_the_broker_that_is_longer_than_a_condition_is_cut(tenant: Tenant) -> None:
    asyncio.run(declare_in_vain(tenant))


async def declare_in_vain(tenant: Tenant) -> None:
    async with proxied(tenant.broker.management_url) as proxy:
        keys = {"uri": f"{tenant.broker.url}{tenant.vhost}", "management-uri": f"{proxy.url}/{REFUSING}"}
        await asyncio.to_thread(lambda: tenant.secret(**keys))
        await asyncio.to_thread(tenant.taskqueue, "jobs")
        await asyncio.to_thread(eventually, lambda: tenant.condition("jobs").get("reason"), "TopologyRefused")
        assert "no no no" in tenant.condition("jobs")["message"]
        assert len(tenant.condition("jobs")["message"]) < len(LONG_REASON) / 10


def test_an_autoscaler_of_the_same_deployment_is_named_and_not_fought(tenant: Tenant) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", scaling={"maxReplicas": 5, "readyPerReplica": 1})
    ready(tenant, "jobs")
    tenant.mark_started("jobs")
    tenant.publish("jobs", "jobs", 5)
    eventually(lambda: tenant.replicas("jobs"), 5)
    # Above its maximum, the controller of Kubernetes acts without metrics, every 15 s.
    tenant.kubectl("autoscale", "deployment", "jobs", "--min=1", "--max=2")
    eventually(lambda: tenant.condition("jobs", "ScalingActive").get("reason"), "ReplicasConflict")
    assert "HorizontalPodAutoscaler" in tenant.condition("jobs", "ScalingActive")["message"]
    assert tenant.replicas("jobs") == 2
    tenant.kubectl("delete", "horizontalpodautoscaler", "jobs")


def shown(tenant: Tenant, operator: OperatorProcess, name: str, type_: str) -> str:
    """Return the reason of a condition as the metrics show it at once; the status may have it later."""
    metrics = httpx.get(f"http://127.0.0.1:{operator.port}/metrics", timeout=60).text
    labels = f'name="{name}",namespace="{tenant.namespace}",reason="([^"]*)",status="[^"]*",type="{type_}"'
    found = re.search(f"taskqueue_condition{{{labels}}} 1", metrics)
    return found[1] if found is not None else ""


def crash(tenant: Tenant, pod: str, message: str) -> None:
    """Show a container in a crash loop, whose last log lines are the message."""
    last = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
    write_container(tenant, pod, {"waiting": {"reason": "CrashLoopBackOff"}}, lastState=last, restartCount=3)


def end(tenant: Tenant, pod: str, code: int) -> None:
    """Show a container that has ended with an exit code."""
    write_container(tenant, pod, {"terminated": {"exitCode": code}})


def write_container(tenant: Tenant, pod: str, state: dict[str, Any], **fields: object) -> None:
    least = {"name": "worker", "ready": False, "restartCount": 0, "image": "worker", "imageID": ""}
    conditions = [{"type": "Ready", "status": "False"}]
    status = {"conditions": conditions, "containerStatuses": [least | {"state": state} | fields]}
    patch = json.dumps({"status": status})
    tenant.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", f"--patch={patch}")


def assign_node(tenant: Tenant, pod: str) -> None:
    """Assign a pod to a node that does not exist: its deletion then waits for a kubelet."""
    target = {"apiVersion": "v1", "kind": "Node", "name": "nowhere"}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
    path = f"/api/v1/namespaces/{tenant.namespace}/pods/{pod}/binding"
    tenant.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(body))
