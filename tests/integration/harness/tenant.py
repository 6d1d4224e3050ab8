"""A namespace and a vhost for one test, and what it reads and writes in both."""

import itertools
import os
from contextlib import closing, suppress
from typing import Any, Generic, Protocol
from urllib.parse import quote

import httpx
from typing_extensions import TypeVar

from taskqueue_operator.resource.names import ANNOTATION_DIGEST, ANNOTATION_STARTED
from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.cluster.progress import until
from tests.idle_connections import KEEP_BRIEFLY
from tests.permissions import Grant, documented, permissions

_numbers = itertools.count(1)


class BrokerAddress(Protocol):
    """A broker, wherever and whatever it is."""

    @property
    def url(self) -> str: ...
    @property
    def management_url(self) -> str: ...


B = TypeVar("B", bound=BrokerAddress, default=Broker)


class Tenant(Generic[B]):
    """Namespace, vhost and objects of one test."""

    def __init__(self, plane: ControlPlane, broker: B) -> None:
        self.namespace = self.vhost = f"team-{os.getpid()}-{next(_numbers)}"
        self.plane = plane
        self.broker = broker
        self.http = httpx.Client(
            base_url=f"{broker.management_url}/api", auth=("guest", "guest"), timeout=120, limits=KEEP_BRIEFLY
        )
        self.http.put(f"/vhosts/{self.vhost}").raise_for_status()
        self._apply("v1", "Namespace", self.namespace)

    def close(self) -> None:
        """Leave nothing behind that the operator would go on with; it may leave the vhost before the vhost goes."""
        with closing(self.http):
            self.plane.writer.delete("taskqueue", self.namespace)
            self.plane.writer.delete("namespace", None, self.namespace)
            with suppress(TimeoutError):  # without an operator the TaskQueues stay
                until(lambda: not self.plane.api.list("taskqueue", self.namespace), "no TaskQueue", seconds=2)
            self.http.delete(f"/vhosts/{self.vhost}")
            self.http.delete(f"/users/{self.vhost}")

    # Kubernetes.

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl in the team's namespace."""
        return self.plane.kubectl("--namespace", self.namespace, *arguments, text=text)

    def secret(self, name: str = "rabbitmq", **keys: str) -> None:
        """Write the Secret; by default one that is right."""
        data = keys or {"uri": f"{self.broker.url}{self.vhost}", "management-uri": self.broker.management_url}
        self._apply("v1", "Secret", name, stringData=data)

    def secret_of_least_rights(self, *queues: str) -> None:
        """Write a Secret whose user has what the documentation grants to the operator for these queues."""
        user = {"password": "least", "tags": "policymaker"}
        self.http.put(f"/users/{self.vhost}", json=user).raise_for_status()
        grants = frozenset[Grant]().union(*(documented("operator", queue, queue) for queue in queues))
        self.http.put(f"/permissions/{self.vhost}/{self.vhost}", json=permissions(grants)).raise_for_status()
        url = self.broker.url.replace("guest:guest", f"{self.vhost}:least")
        self.secret(**{"uri": f"{url}{self.vhost}", "management-uri": self.broker.management_url})

    def taskqueue(self, name: str, **spec: object) -> None:
        """Apply a TaskQueue, with the least that it needs and what the test gives."""
        least = {
            "broker": {"secretRef": {"name": "rabbitmq"}},
            "worker": {"image": "ghcr.io/acme/thumbnails:1.4"},
            "scaling": {"maxReplicas": 20},
        }
        self._apply("taskqueue.dev/v1alpha1", "TaskQueue", name, spec=least | spec)

    def mark_started(self, name: str) -> None:
        """Say that a worker of the present template has been ready: without a kubelet none ever is."""
        digest = self.get("deployment", name)["metadata"]["annotations"][ANNOTATION_DIGEST]
        patch = {"metadata": {"annotations": {ANNOTATION_STARTED: digest}}}
        self.plane.writer.merge("deployment", self.namespace, name, patch)

    def _apply(self, version: str, kind: str, name: str, **content: object) -> None:
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": name}} | content
        self.plane.writer.apply(body, None if kind == "Namespace" else self.namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Read an object; empty when there is none."""
        return self.plane.api.get(kind, self.namespace, name) or {}

    def replicas(self, name: str) -> int | None:
        """Say how many workers are asked for; None without a Deployment."""
        replicas: int | None = self.get("deployment", name).get("spec", {}).get("replicas")
        return replicas

    def condition(self, name: str, type_: str = "Ready") -> dict[str, str]:
        """Read a condition of a TaskQueue; empty when it is not said."""
        conditions = self.get("taskqueue", name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def events(self, name: str) -> list[tuple[str, str]]:
        """List (reason, message) of the Events about a TaskQueue."""
        items = self.plane.api.list("event", self.namespace)
        return [(event["reason"], event["message"]) for event in items if event["involvedObject"]["name"] == name]

    # RabbitMQ.

    def path(self, kind: str, name: str) -> str:
        """Write the path of an object in the team's vhost."""
        return f"/{kind}/{self.vhost}/{quote(name, safe='')}"

    def queue(self, name: str) -> dict[str, Any]:
        """Read a queue; empty when there is none."""
        return self.read(self.path("queues", name))

    def read(self, path: str) -> dict[str, Any]:
        """Read an object of the broker; empty when there is none."""
        answer = self.http.get(path)
        return answer.json() if answer.is_success else {}

    def policy(self, name: str, pattern: str, definition: dict[str, object], *, priority: int = 0) -> None:
        """Write a policy for queues and exchanges, as an administrator does."""
        body = {"pattern": pattern, "definition": definition, "priority": priority, "apply-to": "all"}
        self.http.put(self.path("policies", name), json=body).raise_for_status()

    def publish(self, exchange: str, routing_key: str, count: int) -> None:
        """Publish persistent messages that must reach a queue."""
        path = f"/exchanges/{self.vhost}/{quote(exchange, safe='')}/publish"
        message = {"properties": {"delivery_mode": 2}, "routing_key": routing_key, "payload": "{}"}
        for _ in range(count):
            answer = self.http.post(path, json=message | {"payload_encoding": "string"}).raise_for_status()
            assert answer.json()["routed"], "the message reached no queue"

    def purge(self, queue: str) -> None:
        """Empty a queue."""
        self.http.delete(f"{self.path('queues', queue)}/contents").raise_for_status()
