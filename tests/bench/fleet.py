"""Many TaskQueues with nothing to do, in a namespace and a vhost of their own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.bench import api_server
from tests.bench.setting import Setting
from tests.cluster.installation import create_namespace, create_secret
from tests.cluster.progress import step

NAMESPACE = VHOST = "bench"
SIZE = 100
QUIET_SECONDS = 20
"""Longer than the 12 s after which the operator believes that a queue is empty, and would tell."""
PATIENCE_SECONDS = 180


@asynccontextmanager
async def asleep(setting: Setting) -> AsyncIterator[list[str]]:
    """Lend the names of `SIZE` TaskQueues at zero workers about which the operator has no more to write."""
    _remove(setting)  # what a killed run left
    try:
        _make(setting)
        ready = ("wait", "taskqueues", "--all", "--for=condition=Ready", f"--timeout={PATIENCE_SECONDS}s")
        setting.cluster.kubectl(f"--namespace={NAMESPACE}", *ready)
        await _until_quiet(setting)
        step(f"{SIZE} TaskQueues sleep")
        yield _names()
    finally:
        _remove(setting)


def _names() -> list[str]:
    return [f"queue-{number:03}" for number in range(SIZE)]


def _make(setting: Setting) -> None:
    setting.broker.add_vhost(VHOST)
    create_namespace(setting.cluster, NAMESPACE)
    create_secret(setting.cluster, NAMESPACE, f"amqp://guest:guest@{setting.address.inside}/{VHOST}")
    fleet = {"apiVersion": "v1", "kind": "List", "items": [_taskqueue(name) for name in _names()]}
    setting.cluster.kubectl("apply", "--filename=-", input=json.dumps(fleet))


def _taskqueue(name: str) -> dict[str, Any]:
    # A pod with a gate is left alone by scheduler and kubelet: nothing starts that would take the operator's cores.
    gated = {"spec": {"schedulingGates": [{"name": "taskqueue.dev/bench"}]}}
    return {
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "broker": {"secretRef": {"name": "rabbitmq"}},
            "worker": {"image": "localhost/never-started:bench", "podTemplate": gated},
            "scaling": {
                "maxReplicas": 1,
                "idleSeconds": 0,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            },
        },
    }


def _remove(setting: Setting) -> None:
    cluster = setting.cluster
    cluster.kubectl("delete", "taskqueues", "--all", f"--namespace={NAMESPACE}", "--timeout=120s")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    # Made first: to delete what is not there is an error.
    setting.broker.add_vhost(VHOST)
    setting.broker.delete_vhost(VHOST)


async def _until_quiet(setting: Setting) -> None:
    """Until nobody has written for a while what the operator might write."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    written = -1.0
    while written != (written := api_server.writes(setting.cluster)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"there were writes at least every {QUIET_SECONDS} s for {PATIENCE_SECONDS} s")
        await asyncio.sleep(QUIET_SECONDS)
