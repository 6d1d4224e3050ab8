"""A RabbitMQ in the cluster, and how pods and tests connect to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster.progress import until
from tests.cluster.provider import Cluster
from tests.e2e.management_api import ManagementApi
from tests.e2e.tenant import BrokerAddress

POD = "rabbitmq-0"


@dataclass(frozen=True)
class ClusterBroker:
    """The broker in `namespace`. Every tenant of the tests uses the same one, unless a test has its own."""

    cluster: Cluster
    namespace: str
    api: ManagementApi
    address: BrokerAddress

    def restart(self) -> None:
        """Shut RabbitMQ down in good order, and wait until the kubelet has started it again on the same data."""
        before = self._restarts()
        self.exec("rabbitmqctl", "shutdown", check=False)
        until(lambda: self._restarts() > before, "the broker starts again", seconds=120, every=0.5)
        ready = ("--for=condition=Ready", "--timeout=300s")
        self.cluster.kubectl("wait", f"pod/{POD}", f"--namespace={self.namespace}", *ready)
        until(self.api.is_reachable, "the broker responds", seconds=180, every=0.5)

    def exec(self, *command: str, check: bool = True) -> str:
        """Run a command in the broker's pod; return its output."""
        return self.cluster.kubectl("exec", POD, f"--namespace={self.namespace}", "--", *command, check=check)

    def _restarts(self) -> int:
        pod = self.cluster.api.get("pod", self.namespace, POD)
        assert pod is not None
        return int(pod["status"]["containerStatuses"][0]["restartCount"])


@contextmanager
def connect(cluster: Cluster, namespace: str) -> Iterator[ClusterBroker]:
    """Connect this machine to the broker in `namespace`, which `Cluster.rabbitmq` has started."""
    with (
        cluster.port_forward(namespace, "service/rabbitmq", 5672) as amqp,
        cluster.port_forward(namespace, "service/rabbitmq", 15672) as management,
    ):
        api = ManagementApi(f"http://guest:guest@127.0.0.1:{management}")
        address = BrokerAddress(f"rabbitmq.{namespace}:5672", f"amqp://guest:guest@127.0.0.1:{amqp}")
        yield ClusterBroker(cluster, namespace, api, address)
        api.close()
