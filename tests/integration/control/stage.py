"""A team's corner of the bench: a namespace, a vhost, a Secret, and questions to ask of both sides."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, Protocol
from urllib.parse import quote

import httpx
import yaml
from typing_extensions import TypeVar

from tests.cluster import ports
from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.cluster.progress import until

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
_numbers = itertools.count(1)


class Operator:
    """The operator as a process of its own, as in a pod; what it logs goes to a file."""

    def __init__(self, kubeconfig: Path, directory: Path, **settings: str) -> None:
        (self.port,) = ports.free(1)
        self.log = directory / "operator.log"
        self._environment = (
            os.environ
            | {
                "KUBECONFIG": str(kubeconfig),
                "PYTHONPATH": str(ROOT / "operator"),
                "TASKQUEUE_HTTP_PORT": str(self.port),
                # As in a pod, whose name outlives its container: after a kill it leads again at once.
                "TASKQUEUE_IDENTITY": f"operator-{self.port}",
                "PYTHONWARNINGS": "error::ResourceWarning",
            }
            | settings
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it watches, or stands by."""
        self.launch()
        until(self.is_ready, f"the operator is ready; its log is {self.log}", seconds=PATIENCE)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "taskqueue_operator.app"]
            self.process = subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, stderr=log)
        return self.process

    def is_ready(self) -> bool:
        """Whether it says so itself."""
        return bool(self.readiness())

    def readiness(self) -> str:
        """What it says it is ready for; empty while it is for nothing."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=2)
        except httpx.TransportError:
            return ""
        return answer.text.strip() if answer.is_success else ""

    def stop(self) -> int:
        """End it politely, as the kubelet does; returns its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def writes(self) -> dict[str, float]:
        """Count its writes to Kubernetes and RabbitMQ, by kind."""
        lines = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text.splitlines()
        found = (line.rsplit(" ", 1) for line in lines if line.startswith("taskqueue_writes_total{"))
        return {name.split('"')[1]: float(value) for name, value in found}


class Reached(Protocol):
    """A broker, wherever and whatever it is."""

    @property
    def url(self) -> str: ...
    @property
    def management_url(self) -> str: ...


B = TypeVar("B", bound=Reached, default=Broker)


class Stage(Generic[B]):
    """What one test works with."""

    def __init__(self, plane: ControlPlane, broker: B) -> None:
        self.namespace = self.vhost = f"team-{os.getpid()}-{next(_numbers)}"
        self.plane = plane
        self.broker = broker
        self.http = httpx.Client(base_url=f"{broker.management_url}/api", auth=("guest", "guest"), timeout=30)
        self.http.put(f"/vhosts/{self.vhost}").raise_for_status()
        self.kubectl("create", "namespace", self.namespace)

    def close(self) -> None:
        """Leave nothing behind that the operator would go on with."""
        self.kubectl("delete", "taskqueue", "--all", "--wait=false")
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self.http.delete(f"/vhosts/{self.vhost}")
        self.http.close()

    # Kubernetes.

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl in the team's namespace."""
        return self.plane.kubectl("--namespace", self.namespace, *arguments, text=text)

    def secret(self, name: str = "rabbitmq", **keys: str) -> None:
        """Write the Secret; by default one that is right."""
        data = keys or {"uri": f"{self.broker.url}{self.vhost}", "management-uri": self.broker.management_url}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        self.kubectl("apply", "-f", "-", text=json.dumps(body))

    def taskqueue(self, name: str, **spec: object) -> None:
        """Apply a TaskQueue, with the least that it needs and what the test gives."""
        least = {
            "broker": {"secretRef": {"name": "rabbitmq"}},
            "worker": {"image": "ghcr.io/acme/thumbnails:1.4"},
            "scaling": {"maxReplicas": 20},
        }
        body = {"apiVersion": "taskqueue.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": name}}
        self.kubectl("apply", "-f", "-", text=yaml.safe_dump(body | {"spec": least | spec}))

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
        return next((each for each in conditions if each["type"] == type_), {})

    def events(self, name: str) -> list[tuple[str, str]]:
        """List (reason, message) of the Events about a TaskQueue."""
        items = self.plane.api.list("event", self.namespace)
        return [(each["reason"], each["message"]) for each in items if each["involvedObject"]["name"] == name]

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


def eventually(question: Callable[[], Any], *expected: object, seconds: float = PATIENCE) -> Any:  # noqa: ANN401  JSON
    """Ask until the answer is one of those expected (or true, if none is given), and return it."""
    answers: list[Any] = [None]

    def answered() -> bool:
        answers[0] = question()
        return answers[0] in expected if expected else bool(answers[0])

    try:
        until(answered, "the expected answer", seconds=seconds, every=0.2)
    except TimeoutError:
        raise AssertionError(f"expected {_either(expected)}, last answer {answers[0]!r}") from None
    return answers[0]


def _either(expected: Iterable[Any]) -> str:
    return " or ".join(map(repr, expected)) or "something"
