"""Workers that nobody asks to step aside: a Deployment whose replicas follow its queue, as an HPA makes them do."""

import asyncio
import json
from asyncio import to_thread
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx

from tests.e2e.application import MODULE_MOUNTS, MODULES_VOLUME, TASKQUEUE_WORKER, Application
from tests.e2e.tenant import NAME, Tenant

PERIOD_SECONDS: Final = 5
GRACE_SECONDS: Final = 30
"""What a pod has that says nothing of it."""

GRACEFUL: Final = TASKQUEUE_WORKER.command
DEAF: Final = ("sh", "-c", "python -m taskqueue_worker; exit $?")
"""The shell is the first process, so SIGTERM reaches the shell alone, which ignores it."""


@dataclass(frozen=True)
class Unguarded:
    """A Deployment without a TaskQueue. Its number is lowered at once, and the ReplicaSet picks who goes."""

    command: Sequence[str]
    concurrency: int
    prefetch: int
    most: int
    per_replica: int
    least: int = 0
    application: Application = TASKQUEUE_WORKER
    exchange: str = ""

    def begin(self, tenant: Tenant) -> None:
        """Make queue and Deployment."""
        tenant.broker.create_queue(tenant.namespace, NAME)
        tenant.apply_manifest(self._deployment(tenant))

    def roll(self, tenant: Tenant, version: int) -> None:
        """Change what the pods are made from."""
        template = {"metadata": {"annotations": {"taskqueue.dev/bench": str(version)}}}
        patch = json.dumps({"spec": {"template": template}})
        tenant.kubectl("patch", "deployment", NAME, "--type=merge", f"--patch={patch}")

    async def attend(self, tenant: Tenant) -> None:
        """Ask for as many as the messages that wait need, as KEDA does when it asks over AMQP."""
        while True:
            with suppress(httpx.TransportError):  # the way to the broker ends under load now and then, and is back soon
                ready = (await to_thread(tenant.queues))[NAME]["messages_ready"]
                desired = min(self.most, max(self.least, -(-ready // self.per_replica)))
                await to_thread(tenant.kubectl, "scale", f"deployment/{NAME}", f"--replicas={desired}")
            await asyncio.sleep(PERIOD_SECONDS)

    def _deployment(self, tenant: Tenant) -> dict[str, Any]:
        labels = {"app": NAME}
        pod = {
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [self._container(tenant)],
            "volumes": [MODULES_VOLUME],
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }

    def _container(self, tenant: Tenant) -> dict[str, Any]:
        settings = {
            "TASKQUEUE_QUEUES": NAME,
            "TASKQUEUE_CONCURRENCY": self.concurrency,
            "TASKQUEUE_PREFETCH": self.prefetch,
        }
        probe = {"readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}}
        return {
            **({} if self.application.plain else probe),
            "name": "worker",
            "image": tenant.image,
            "command": list(self.command),
            "env": [*self.application.env, *({"name": name, "value": str(each)} for name, each in settings.items())],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": MODULE_MOUNTS,
        }
