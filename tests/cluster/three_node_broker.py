"""A RabbitMQ cluster of three nodes, each of which can be killed, frozen and cut off from the others."""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from tests.cluster import ports
from tests.cluster.broker import Broker, Placement
from tests.cluster.network import Network
from tests.cluster.prerequisites import need_packages, need_root
from tests.cluster.processes import Processes
from tests.cluster.tcp_proxy import ProxyLoop, Target, TcpProxy

NODES = 3
TICK_SECONDS = 8
"""After about so long, nodes treat a silent node as lost; with the default of 60 every test would be long."""


class ThreeNodeBroker:
    """Three nodes on a network of their own; clients connect through the proxies `amqp` and `management`.

    A node alone is reached at `node.url` and `node.management_url`, also when it is cut off from the others.
    """

    def __init__(self, directory: Path) -> None:
        self.processes = Processes(directory)
        self.network = Network(self.processes, NODES)
        self._stack = contextlib.ExitStack()
        self._directory = directory

    @classmethod
    def start(cls, directory: Path) -> "ThreeNodeBroker":
        """One with all nodes up; it goes when this process goes."""
        need_root()
        need_packages("ip")
        three_nodes = cls(directory)
        with contextlib.ExitStack() as undo:
            undo.push(three_nodes)
            three_nodes._boot()
            undo.pop_all()
        return three_nodes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        """The AMQP URI for clients, through the proxy."""
        return f"amqp://guest:guest@127.0.0.1:{self.amqp.port}/"

    @property
    def management_url(self) -> str:
        """The URL of the management API for clients, through the proxy."""
        return f"http://127.0.0.1:{self.management.port}"

    def leader(self, vhost: str, queue: str, *, asked: int) -> int | None:
        """The number of the node that leads a queue, if the one that is asked answers and knows."""
        url = f"{self.nodes[asked].management_url}/api/queues/{quote(vhost, safe='')}"
        with contextlib.suppress(httpx.HTTPError):
            for item in httpx.get(url, params={"disable_stats": "true"}, auth=("guest", "guest"), timeout=3).json():
                if item["name"] == queue and item["state"] == "running":
                    return [node.name for node in self.nodes].index(item["leader"])
        return None

    @property
    def proxies(self) -> tuple[TcpProxy, TcpProxy]:
        """Both ways in."""
        return self.amqp, self.management

    def restore(self) -> None:
        """Undo whatever was done to nodes, network and proxies."""
        for proxy in self.proxies:
            proxy.unpin()
            proxy.flow()
            proxy.mend()
        for number, node in enumerate(self.nodes):
            self.heal(number)
            if node.is_up:
                node.resume()
        self.start_missing()

    def start_missing(self) -> None:
        """Start all nodes that are down, at once: alone, one may wait for the others."""
        self._together(lambda node: node.start(), [node for node in self.nodes if not node.is_up])

    def isolate(self, number: int) -> None:
        """Cut a node off from the other two; clients reach all three as before."""
        self.network.unplug(self.network.hosts[number])

    def heal(self, number: int) -> None:
        """Undo `isolate`; TCP retransmits lost data at its own intervals."""
        self.network.plug(self.network.hosts[number])

    def _boot(self) -> None:
        self.processes.guard()
        self._stack.callback(self.processes.stop_all, grace=0)
        self.network.start()
        hosts = self.network.hosts
        others = "".join(
            f"cluster_formation.classic_config.nodes.{host.address[-1]} = rabbit@{host.address}\n" for host in hosts
        )
        configuration = f"cluster_formation.peer_discovery_backend = classic_config\n{others}"
        erlang = f"-kernel net_ticktime {TICK_SECONDS}"
        self.nodes = [
            Broker(
                self._directory / host.name,
                placement=Placement(host.address, host.enter, "three_nodes", configuration, erlang),
            )
            for host in hosts
        ]
        loop = self._stack.enter_context(ProxyLoop())
        amqp, management = ports.free(2)
        at = list(zip(hosts, self.nodes, strict=True))
        self.amqp = loop.open_proxy(amqp, [Target(host, node.amqp_port) for host, node in at])
        self.management = loop.open_proxy(management, [Target(host, node.management_port) for host, node in at])
        for host, node in at:
            for port in (node.amqp_port, node.management_port):
                loop.open_proxy(port, [Target(host, port)])
            self._stack.enter_context(node)
        self._together(Broker.boot, self.nodes)

    def _together(self, act: Callable[[Broker], None], nodes: Sequence[Broker]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(act, nodes))
