"""Workers without drain: a Deployment whose replicas follow its queue, as with an HPA."""

import asyncio
import json
from asyncio import to_thread
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx

from tests.bench.resource_requests import RESOURCES
from tests.e2e.application import MODULE_MOUNTS, MODULES_VOLUME, NAME, TASKQUEUE_WORKER, Application
from tests.e2e.tenant import Tenant

PERIOD_SECONDS: Final = 5
GRACE_SECONDS: Final = 30
"""The default of Kubernetes."""

HANDLES_SIGTERM: Final = TASKQUEUE_WORKER.command
IGNORES_SIGTERM: Final = ("sh", "-c", "python -m taskqueue_worker; exit $?")
"""The shell is the first process of the container: only the shell receives SIGTERM, and ignores it."""


@dataclass(frozen=True)
class UnmanagedWorkers:
    """A Deployment without a TaskQueue. Its replicas are lowered at once, and the ReplicaSet selects the pods."""

    command: Sequence[str]
    concurrency: int
    prefetch: int
    max_replicas: int
    ready_per_replica: int
    min_replicas: int = 0
    application: Application = TASKQUEUE_WORKER
    exchange: str = ""

    def create(self, tenant: Tenant) -> None:
        """Create the queues of a TaskQueue and the Deployment."""
        tenant.broker.create_queue(tenant.namespace, NAME)
        tenant.broker.create_queue(tenant.namespace, f"{NAME}.dlq")
        tenant.apply_manifest(self._deployment(tenant))

    def roll_out(self, tenant: Tenant, version: int) -> None:
        """Change the template of the pods."""
        template = {"metadata": {"annotations": {"taskqueue.dev/bench": str(version)}}}
        patch = json.dumps({"spec": {"template": template}})
        tenant.kubectl("patch", "deployment", NAME, "--type=merge", f"--patch={patch}")

    async def keep_scaled(self, tenant: Tenant) -> None:
        """Scale to what the ready messages need, as KEDA does when it reads the queue over AMQP."""
        while True:
            with suppress(httpx.TransportError):  # the port-forward breaks under load now and then, and restarts
                ready = (await to_thread(tenant.queues))[NAME]["messages_ready"]
                desired = min(self.max_replicas, max(self.min_replicas, -(-ready // self.ready_per_replica)))
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
            "resources": RESOURCES,
            "env": [*self.application.env, *({"name": name, "value": str(value)} for name, value in settings.items())],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": MODULE_MOUNTS,
        }
