"""The dead letters of a TaskQueue, with the permissions of the user."""

from typing import Any

import yaml

from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.integration.commands.conftest import Dlq, Queues, dead_letter


async def test_the_dead_letters_of_a_taskqueue_are_found_by_its_name(
    dlq: Dlq, queues: Queues, broker: Broker, installed: ControlPlane
) -> None:
    namespace = queues.name
    installed.kubectl("create", "namespace", namespace)
    secret = ("create", "secret", "generic", "rabbitmq", f"--from-literal=uri={broker.url}")
    installed.kubectl("--namespace", namespace, *secret)
    taskqueue: dict[str, Any] = {
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "thumbnails"},
        "spec": {
            "broker": {"secretRef": {"name": "rabbitmq"}},
            "queue": {"name": queues.name},
            "worker": {"image": "example.org/worker:1"},
            "scaling": {"maxReplicas": 1},
        },
    }
    installed.kubectl("--namespace", namespace, "create", "-f", "-", text=yaml.safe_dump(taskqueue))
    await queues.publish(dead_letter(1, queues.name), dead_letter(2, "elsewhere"))
    user = {"RABBITMQ_URL": "", "KUBECONFIG": str(installed.kubeconfig)}

    listed = await dlq.run("list", f"{namespace}/thumbnails", "--output", "json", **user)
    assert listed.code == 0, listed.errors
    assert (listed.json["queue"], listed.json["read"]) == (queues.dead_letters, 2)
    done = await dlq.run("redrive", f"{namespace}/thumbnails", "--all", "--output", "json", **user)
    assert (done.code, done.json["redriven"], done.json["kept"]) == (4, 1, {"other-queue": 1})
    sharded = taskqueue | {"metadata": {"name": "sharded"}}
    sharded["spec"]["queue"] = {"name": queues.name, "shards": {"count": 2}}
    installed.kubectl("--namespace", namespace, "create", "-f", "-", text=yaml.safe_dump(sharded))
    together = await dlq.run("list", f"{namespace}/sharded", "--output", "json", **user)
    assert together.json["queue"] == queues.dead_letters, "one for all shards"
    del taskqueue["spec"]["queue"]
    several = taskqueue | {"metadata": {"name": "several"}}
    several["spec"]["externalQueues"] = ["elsewhere", queues.name]
    installed.kubectl("--namespace", namespace, "create", "-f", "-", text=yaml.safe_dump(several))
    unnamed = await dlq.run("list", f"{namespace}/several", **user)
    assert (unnamed.code, "Name one with --queue" in unnamed.errors) == (2, True)
    named = ("--queue", queues.dead_letters, "--all", "--output", "json")
    kept = await dlq.run("redrive", f"{namespace}/several", *named, **user)
    assert (kept.json["redriven"], kept.json["kept"]) == (0, {"unroutable": 1})
    missing = await dlq.run("list", f"{namespace}/other", **user)
    assert (missing.code, f"TaskQueue {namespace}/other not found" in missing.errors) == (1, True)
    stranger = user | {"KUBECONFIG": str(installed.identity("stranger"))}
    forbidden = await dlq.run("list", f"{namespace}/thumbnails", **stranger)
    assert (forbidden.code, 'User "stranger" cannot get' in forbidden.errors) == (1, True)
    installed.kubectl("delete", "namespace", namespace, "--wait=false")
