"""RabbitMQ in memory: applies steps, returns depths, records requests, and fails on demand."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Vhost
from taskqueue_operator.drain.consumers import Connection, ConsumerSnapshot
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import CONTROL_PREFIX, Key
from taskqueue_operator.scaling.reading import Probe, Sweep
from taskqueue_operator.topology.diff import Declare, Step
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology
from tests.unit.topology.in_memory_vhost import apply_policies

Item = TypeVar("Item")

PASSWORD = "correct-horse-battery-staple"
DATA = {"uri": f"amqp://user:{PASSWORD}@broker/".encode()}
TIMEOUT_SECONDS = 20
START = datetime(2026, 1, 1, tzinfo=UTC)
UNREACHABLE = BrokerFault(Reason.BROKER_UNREACHABLE, "RabbitMQ at broker:5672 does not answer (connection refused).")
AUTHENTICATION_FAILED = BrokerFault(
    Reason.AUTHENTICATION_FAILED, "RabbitMQ at broker:5672 refuses the user.", terminal=True
)
FORBIDDEN = BrokerFault(Reason.PERMISSION_DENIED, 'User "app" may not read the depth of queue "more".', terminal=True)


@dataclass(frozen=True)
class FakeEndpoint:
    uri: bytes = field(default=b"", repr=False)
    vhost: str = "/"
    namespace: str = "media"

    @property
    def address(self) -> str:
        return f"{urlsplit(self.uri.decode()).hostname or 'broker'}:5672"


class FakeBroker:
    """One vhost: applies steps, returns depths, or fails."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.topology_ = Topology()
        self.depths: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self.deferred: dict[str, int] = {}
        self.consumer_counts: dict[str, int] = {}
        self.fault: Fault | None = None
        self.silent = False
        self.topology_seconds = 0.0
        self.refused: dict[str, BrokerFault] = {}
        self.applied: list[Step] = []
        self.probes: list[tuple[float, frozenset[str]]] = []
        self.sweeps: list[float] = []
        self.consumer_polls: list[float] = []
        self.consumer_fault: BrokerFault | None = None
        self.closed_connections: list[str] = []
        self.connections: Callable[[], Iterable[Connection]] = tuple
        self.alarms_ = frozenset[str]()
        self.reads = 0
        self._digested: list[Topology] = []
        self.closed = False
        self.control_channels: list[FakeControlChannel] = []

    async def topology(self) -> Topology:
        await self._answer()
        await asyncio.sleep(self.topology_seconds)
        self.reads += 1
        return replace(apply_policies(self.topology_), digest=self._digest())

    async def apply(self, steps: Sequence[Step]) -> None:
        await self._answer()
        for step in steps:
            self.applied.append(step)
            self.topology_ = _apply(self.topology_, step)

    async def sweep(self) -> Mapping[str, Sweep]:
        self.sweeps.append(asyncio.get_running_loop().time())
        at = self.clock()
        await self._answer()
        return {
            name: Sweep(
                at,
                present=True,
                running=True,
                ready=self.depths[name][0],
                unacked=self.depths[name][1],
                deferred=self.deferred.get(name, 0),
            )
            for name in self.topology_.queues
        }

    async def alarms(self) -> frozenset[str]:
        await self._answer()
        return self.alarms_

    async def consumers(self) -> ConsumerSnapshot:
        self.consumer_polls.append(asyncio.get_running_loop().time())
        at = self.clock()
        await self._answer()
        if self.consumer_fault is not None:
            raise self.consumer_fault
        return ConsumerSnapshot(at, tuple(self.connections()))

    async def close_connections(self, names: Collection[str]) -> None:
        await self._answer()
        self.closed_connections += names

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        self.probes.append((asyncio.get_running_loop().time(), frozenset(queues)))
        at = self.clock()
        await self._answer()
        return {name: self._probed(name, at) for name in queues}

    def control_channel(self, on_report: Callable[[str, bytes, str], None]) -> "FakeControlChannel":
        self.control_channels.append(FakeControlChannel(self, on_report))
        return self.control_channels[-1]

    @property
    def queues(self) -> Mapping[str, Queue]:
        """The queues, without those that all TaskQueues of the vhost share."""
        return _own(self.topology_.queues)

    @property
    def exchanges(self) -> Mapping[str, Exchange]:
        """The exchanges, without those that all TaskQueues of the vhost share."""
        return _own(self.topology_.exchanges)

    @property
    def last_control_channel(self) -> "FakeControlChannel":
        """The control channel that was opened last."""
        return self.control_channels[-1]

    async def close(self) -> None:
        self.closed = True

    def _probed(self, name: str, at: datetime) -> Probe:
        if name in self.refused:
            return Probe(at, None, fault=self.refused[name])
        if name not in self.topology_.queues:
            return Probe(at, None, missing=True)
        return Probe(at, self.depths[name][0], consumers=self.consumer_counts.get(name))

    def _digest(self) -> bytes:
        """Return another digest for each topology, as long as a test has only a few."""
        if not self._digested or self._digested[-1] is not self.topology_:
            self._digested.append(self.topology_)
        return b"%d" % len(self._digested)

    async def _answer(self) -> None:
        await asyncio.sleep(TIMEOUT_SECONDS if self.silent else 0)
        if self.silent:
            raise UNREACHABLE
        if self.fault is not None:
            raise self.fault


class FakeControlChannel:
    """The control channel to workers: commands are recorded, and passed to `answer` if it is set."""

    def __init__(self, broker: FakeBroker, on_report: Callable[[str, bytes, str], None]) -> None:
        self.fault: BrokerFault | None = None
        self.broker = broker
        self.on_report = on_report
        self.subscribed: set[str] = set()
        self.restored: set[str] = set()
        self.sent: list[tuple[str, bytes]] = []
        self.sent_together: list[Sequence[tuple[str, bytes]]] = []
        self.answer: Callable[[str, bytes], None] | None = None

    def restore(self, taskqueues: Collection[str]) -> None:
        self.restored |= set(taskqueues)

    def listen(self, taskqueue: str, *, enabled: bool) -> None:
        self.subscribed = self.subscribed - {taskqueue} | ({taskqueue} if enabled else set())

    async def send(self, commands: Sequence[tuple[str, bytes]]) -> None:
        self.sent_together.append(commands)
        for address, command in commands:
            self.sent.append((address, command))
            if self.answer is not None and self.broker.fault is None:
                self.answer(address, command)

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.broker.control_channels.remove(self)


class FakeBrokers:
    """One broker for each endpoint."""

    def __init__(self, clock: Clock) -> None:
        self.brokers: defaultdict[FakeEndpoint, FakeBroker] = defaultdict(lambda: FakeBroker(clock))

    def endpoint(self, secret: Key, data: Mapping[str, bytes], vhost: str | None) -> FakeEndpoint:
        if "uri" not in data:
            raise BrokerFault(Reason.SECRET_INVALID, f"Secret {secret} has no key uri.", terminal=True)
        return FakeEndpoint(data["uri"], vhost or "/")

    def connect(self, endpoint: object) -> Vhost:
        assert isinstance(endpoint, FakeEndpoint)
        return self.brokers[endpoint]

    @property
    def broker(self) -> FakeBroker:
        return self.brokers[FakeEndpoint(DATA["uri"])]


def _own(items: Mapping[str, Item]) -> Mapping[str, Item]:
    return {name: item for name, item in items.items() if not name.startswith(CONTROL_PREFIX)}


def _apply(actual: Topology, step: Step) -> Topology:
    item = step.item
    if isinstance(item, Binding):
        bindings = actual.bindings | {item} if isinstance(step, Declare) else actual.bindings - {item}
        return replace(actual, bindings=bindings)
    part = {Exchange: "exchanges", Queue: "queues", Policy: "policies"}[type(item)]
    others = {name: other for name, other in getattr(actual, part).items() if name != item.name}
    remaining = others | ({item.name: item} if isinstance(step, Declare) else {})
    bindings = actual.bindings
    if not isinstance(step, Declare) and not isinstance(item, Policy):
        bindings = frozenset(
            binding for binding in bindings if item.name not in _ends(binding, isinstance(item, Queue))
        )
    changed: dict[str, Any] = {part: remaining, "bindings": bindings}
    return replace(actual, **changed)


def _ends(binding: Binding, of_queue: bool) -> Iterable[str]:  # noqa: FBT001  which kind of name is meant
    if of_queue:
        return (binding.destination,) if binding.to_queue else ()
    return (binding.source,) if binding.to_queue else (binding.source, binding.destination)
