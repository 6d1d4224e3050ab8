"""One vhost of one RabbitMQ: the adapter of the ports `Vhost` and `VhostFactory`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from taskqueue_operator.drain.consumers import ConsumerSnapshot
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.lease import Guard
from taskqueue_operator.resource.names import MANAGER, Key
from taskqueue_operator.scaling.reading import Probe, Sweep
from taskqueue_operator.topology.diff import Declare, Step
from taskqueue_operator.topology.objects import Queue, Topology

from .access import Access
from .apply import apply_step
from .broker_hosts import ANYWHERE, BrokerHosts
from .broker_version import BrokerVersion
from .consumers import read_consumers
from .control_channel import ControlChannel
from .endpoint import Endpoint
from .management import Management
from .management_requests import segment
from .network import Network
from .probe import Prober
from .reconnect import Reconnector
from .report_queue import OnReport
from .secret import parse_secret
from .topology_reader import TopologyReader
from .turns import Turns
from .vhost_reader import read_sweep

PROBE_CONNECTION_NAME: Final = f"{MANAGER} probe"
CONTROL_CONNECTION_NAME: Final = f"{MANAGER} control"


class Vhost:
    """Uses the management API for reads and writes, and one AMQP connection for probes; both connect on first use."""

    def __init__(
        self, access: Access, clock: Callable[[], datetime], reports: Turns, guard: Guard | None = None
    ) -> None:
        self._access = access
        self._endpoint = endpoint = access.endpoint
        self._clock = clock
        self._reports = reports
        self._guard = guard
        self._management = Management(access.for_management(), guard)
        self._topology = TopologyReader(self._management, access.network.known_listings)
        self._reconnector = Reconnector(access, name=PROBE_CONNECTION_NAME)
        self._prober = Prober(endpoint, self._reconnector, clock)
        self._version = BrokerVersion(self._management, clock)

    async def topology(self) -> Topology:
        """Read all exchanges, queues, bindings and policies: one to five requests, and a few more about the broker.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        with self._management.parsing():
            topology = await self._topology.read(conditionally=self._version.has_etags)
            return replace(topology, version=await self._version.read())

    async def apply(self, steps: Sequence[Step]) -> None:
        """Apply steps in order. Each step may be repeated.

        Raises:
            TopologyFault: The broker refuses an object.
            BrokerFault: The management API cannot be used.
        """
        for step in steps:
            with self._management.parsing():
                await apply_step(self._management, step)
            if isinstance(step, Declare) and isinstance(step.item, Queue):
                self._prober.on_queues_found({step.item.name})

    async def sweep(self) -> Mapping[str, Sweep]:
        """Read the figures of every queue: one request.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        with self._management.parsing():
            sweeps = await read_sweep(self._management, self._clock)
        # A queue whose node is down is listed too, but a probe does not find it.
        self._prober.on_queues_found({queue for queue, sweep in sweeps.items() if sweep.running})
        return sweeps

    async def alarms(self) -> frozenset[str]:
        """Read for which resources the broker has an alarm, `memory` or `disk`: one request.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        return await self._management.read_alarms()

    async def consumers(self) -> ConsumerSnapshot:
        """Read all connections, the queues that they consume and the messages that they hold: three requests.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        with self._management.parsing():
            return await read_consumers(self._management, self._clock)

    async def close_connections(self, names: Collection[str]) -> None:
        """Close connections of clients; one that is already closed counts as closed.

        Raises:
            BrokerFault: The management API cannot be used, or the user may not close connections of other users.
        """
        for name in names:
            await self._management.delete(f"connections/{segment(name)}", operation="close a connection of a worker")

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Read the ready count of each queue; queues that have not answered are left out.

        Raises:
            BrokerFault: There is no connection.
        """
        return await self._prober.probe(queues)

    def control_channel(self, on_report: OnReport) -> ControlChannel:
        """Return a control channel. It connects while it runs and listens for at least one TaskQueue."""
        return ControlChannel(self._access, CONTROL_CONNECTION_NAME, on_report, self._reports, self._guard)

    async def close(self) -> None:
        """Close all connections but those of control channels."""
        self._prober.close()
        try:
            await self._reconnector.close()
        finally:
            self._access.network.dismiss(self._endpoint)
            await self._management.close()


class VhostFactory:
    """Connects to vhosts with the credentials of Secrets.

    Args:
        clock: Gives the time of each probe and sweep.
        guard: Called before each write.
        hosts: The hosts that may be contacted.
    """

    def __init__(
        self, clock: Callable[[], datetime], guard: Guard | None = None, hosts: BrokerHosts = ANYWHERE
    ) -> None:
        self._clock = clock
        self._guard = guard
        self._reports = Turns(bounds.REPORTS_PER_SECOND / bounds.REPORTS_PER_TURN)
        self._hosts = hosts
        self._network = Network(hosts=hosts)

    def endpoint(self, secret: Key, data: Mapping[str, bytes], vhost: str | None) -> Endpoint:
        """Parse a Secret's data.

        Raises:
            BrokerFault: A key is missing or invalid; the message names it.
        """
        endpoint = parse_secret(secret, data, vhost)
        named = {endpoint.host, urlsplit(endpoint.management).hostname or ""}
        return replace(endpoint, vouched=all(map(self._hosts.names, named)))

    def connect(self, endpoint: object) -> Vhost:
        """Return the vhost of an endpoint that this factory parsed; it connects on first use.

        Raises:
            BrokerFault: Too many endpoints are read.
        """
        if not isinstance(endpoint, Endpoint):
            raise TypeError(f"not an endpoint of RabbitMQ: {type(endpoint).__name__}")
        self._network.admit(endpoint)
        return Vhost(Access(endpoint, self._network), self._clock, self._reports, self._guard)
