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
from tests.cluster.broker import Broker, Seat
from tests.cluster.front import Desk, Front, Target
from tests.cluster.network import Network
from tests.cluster.prerequisites import need_packages, need_root
from tests.cluster.processes import Processes

NODES = 3
TICK_SECONDS = 8
"""After which nodes take one that is silent for gone, more or less; the default of 60 makes every test a long one."""


class Trio:
    """Three nodes on a network of their own; clients come in by the fronts `amqp` and `management`.

    A node alone is reached at `node.url` and `node.management_url`, also when it is cut off from the others.
    """

    def __init__(self, directory: Path) -> None:
        self.processes = Processes(directory)
        self.network = Network(self.processes, NODES)
        self._stack = contextlib.ExitStack()
        self._directory = directory

    @classmethod
    def start(cls, directory: Path) -> "Trio":
        """One with all nodes up; it goes when this process goes."""
        need_root()
        need_packages("ip")
        trio = cls(directory)
        with contextlib.ExitStack() as undo:
            undo.push(trio)
            trio._boot()
            undo.pop_all()
        return trio

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        """Where clients speak AMQP, by the front."""
        return f"amqp://guest:guest@127.0.0.1:{self.amqp.port}/"

    @property
    def management_url(self) -> str:
        """Where clients speak HTTP, by the front."""
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
    def fronts(self) -> tuple[Front, Front]:
        """Both ways in."""
        return self.amqp, self.management

    def restore(self) -> None:
        """Undo whatever was done to nodes, network and fronts."""
        for front in self.fronts:
            front.unpin()
            front.flow()
            front.mend()
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
        """Undo `isolate`; what was lost is sent again when TCP's patience allows."""
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
            Broker(self._directory / host.name, seat=Seat(host.address, host.enter, "trio", configuration, erlang))
            for host in hosts
        ]
        desk = self._stack.enter_context(Desk())
        amqp, management = ports.free(2)
        at = list(zip(hosts, self.nodes, strict=True))
        self.amqp = desk.front(amqp, [Target(host, node.amqp_port) for host, node in at])
        self.management = desk.front(management, [Target(host, node.management_port) for host, node in at])
        for host, node in at:
            for port in (node.amqp_port, node.management_port):
                desk.front(port, [Target(host, port)])
            self._stack.enter_context(node)
        self._together(Broker.boot, self.nodes)

    def _together(self, act: Callable[[Broker], None], nodes: Sequence[Broker]) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(act, nodes))
