"""A namespace full of bad TaskQueues: bad objects, bad Secrets, bad brokers and bad policies."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from taskqueue_operator.resource.names import GROUP, KIND, VERSION
from tests.cluster import images
from tests.cluster.installation import create_namespace
from tests.cluster.progress import until
from tests.e2e import hostile_server
from tests.e2e.cluster_broker import ClusterBroker

Body = dict[str, Any]
OF_EACH_KIND: Final = 5
DEPTH: Final = 1200
"""Levels of maps in a podTemplate; the API server stores it, and some JSON parsers fail at 1,024."""
_DEEP: Final = "PLACEHOLDER OF THE DEEP MAP"
POLICIES: Final = 600
CATASTROPHIC: Final = "^(a+)+$"
"""A pattern for which a backtracking regular expression never ends on `a` * 40 + `!`."""
TIMEOUT_SECONDS: Final = 300
_SERVER: Final = "hostile"
_READY: Final = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'


class HostileNeighbour:
    """A tenant whose TaskQueues are all bad, each kind `OF_EACH_KIND` times."""

    def __init__(self, broker: ClusterBroker) -> None:
        self._broker = broker
        self._cluster = broker.cluster
        self.namespace = f"hostile-{uuid4().hex[:6]}"
        self._real = f"amqp://guest:guest@{broker.address.in_cluster}/{self.namespace}"

    def set_up(self) -> None:
        """Start the hostile servers and create everything."""
        create_namespace(self._cluster, self.namespace)
        self._prepare_vhost()
        self._cluster.load(images.build("worker"))
        self._apply(*self._server())
        self._kubectl("rollout", "status", f"deployment/{_SERVER}", f"--timeout={TIMEOUT_SECONDS}s")
        self._apply(*self._secrets())
        self._apply(*(self._taskqueue(name, **spec) for name, spec in self._specs()))

    def tear_down(self) -> None:
        """Delete everything."""
        self._kubectl("delete", "taskqueues", "--all", "--wait=false")
        self._cluster.kubectl("delete", "namespace", self.namespace, "--wait=false")
        self._broker.api.delete_vhost(self.namespace)

    def until_gone(self) -> None:
        """Wait until nothing of it runs any more, and the operator has forgotten its TaskQueues."""
        gone = ("get", "namespace", self.namespace, "--ignore-not-found", "--output=name")
        until(lambda: not self._cluster.kubectl(*gone).strip(), "it is gone", seconds=TIMEOUT_SECONDS, every=1)

    def until_all_are_reported(self) -> int:
        """Wait until each TaskQueue has Ready=False; return their number."""
        expected = len(list(self._specs()))

        def all_reported() -> bool:
            # Only the conditions: a decoder of JSON recurses too.
            ready = self._kubectl("get", "taskqueues", f"--output=jsonpath={_READY}").splitlines()
            return ready == ["False"] * expected

        until(all_reported, f"{expected} bad TaskQueues have Ready=False", seconds=TIMEOUT_SECONDS, every=1)
        return expected

    def _specs(self) -> Iterator[tuple[str, Body]]:
        """Return name and deviation from a good spec of each bad TaskQueue."""
        workers: dict[str, Body] = {
            "deep": {"podTemplate": _DEEP},
            "host-access": {"podTemplate": {"spec": {"hostPID": True}}},
            "no-template": {"podTemplate": {"spec": {"containers": "worker"}}},
        }
        for number in range(OF_EACH_KIND):
            for kind in (*self._secret_data(), "missing"):
                yield f"{kind}-{number}", {"secret": kind}
            for kind, worker in workers.items():
                yield f"{kind}-{number}", {"secret": "real", "worker": worker}

    def _secret_data(self) -> dict[str, Body]:
        def host(port: int) -> str:
            return f"{_SERVER}.{self.namespace}:{port}"

        return {
            "silent": {"uri": f"amqp://a:b@{host(hostile_server.SILENT)}/"},
            "closing": {"uri": f"amqp://a:b@{host(hostile_server.CLOSING)}/"},
            "flooding": {"uri": self._real, "management-uri": f"http://{host(hostile_server.FLOODING)}"},
            "dripping": {"uri": self._real, "management-uri": f"http://{host(hostile_server.DRIPPING)}"},
            "unresolvable": {"uri": "amqp://a:b@rabbitmq.nowhere.invalid/"},
            "password": {"uri": self._real.replace("guest:guest", "guest:wrong")},
            "uri-as-host": {"host": self._real, "username": "a", "password": "b"},
            "invalid-host": {"uri": "amqp://a:b@[::1::2]/"},
        }

    def _secrets(self) -> Iterator[Body]:
        for name, data in {**self._secret_data(), "real": {"uri": self._real}}.items():
            yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}

    def _taskqueue(self, name: str, *, secret: str, worker: Body | None = None) -> Body:
        return {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": KIND,
            "metadata": {"name": name},
            "spec": {
                "broker": {"secretRef": {"name": secret}},
                "worker": {"image": "localhost/never-started:bench"} | (worker or {}),
                "scaling": {"maxReplicas": 1},
            },
        }

    def _prepare_vhost(self) -> None:
        """Create many policies, one of them with a pattern that must not be evaluated by anybody but the broker."""
        api = self._broker.api
        api.create_vhost(self.namespace)
        api.create_queue(self.namespace, "a" * 40 + "!")
        policies = [CATASTROPHIC, *(f"^policy-{number}$" for number in range(POLICIES))]
        for number, pattern in enumerate(policies):
            api.put_policy(self.namespace, f"policy-{number}", pattern, {"max-length": 1000})

    def _server(self) -> Iterator[Body]:
        labels = {"app": _SERVER}
        script = Path(hostile_server.__file__).read_text()
        container = {
            "name": "server",
            "image": images.tag("worker"),
            "command": ["python", "-c", script],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        pod = {
            "containers": [container],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        yield {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": _SERVER},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }
        ports = [{"name": f"p{port}", "port": port} for port in hostile_server.PORTS]
        spec = {"selector": labels, "ports": ports}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": _SERVER}, "spec": spec}

    def _apply(self, *manifests: Body) -> None:
        # Not `apply`: its annotation would hold the deep object once more, as a text.
        bundle = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self._cluster.kubectl(
            "create", f"--namespace={self.namespace}", "--validate=false", "--filename=-", input=_json(bundle)
        )

    def _kubectl(self, *arguments: str) -> str:
        return self._cluster.kubectl(f"--namespace={self.namespace}", *arguments)


def _json(value: object) -> str:
    """Return JSON; the deep map is put in as a text, because the encoder recurses."""
    return json.dumps(value).replace(f'"{_DEEP}"', '{"a":' * DEPTH + "{}" + "}" * DEPTH)
