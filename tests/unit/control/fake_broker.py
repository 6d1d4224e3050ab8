"""RabbitMQ in memory: it takes steps, tells depths, counts what it is asked, and fails when told to."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Vhost
from taskqueue_operator.drain.consumers import Connection, ConsumerSnapshot
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Probe, Sweep
from taskqueue_operator.topology.diff import Declare, Step
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology

PASSWORD = "correct-horse-battery-staple"
DATA = {"uri": f"amqp://user:{PASSWORD}@broker/".encode()}
START = datetime(2026, 1, 1, tzinfo=UTC)
GONE_AWAY = BrokerFault(Reason.BROKER_UNREACHABLE, "RabbitMQ at broker:5672 does not answer (connection refused).")
REFUSED = BrokerFault(Reason.AUTHENTICATION_FAILED, "RabbitMQ at broker:5672 refuses the user.", terminal=True)
FORBIDDEN = BrokerFault(Reason.PERMISSION_DENIED, 'User "app" may not read the depth of queue "more".', terminal=True)


@dataclass(frozen=True)
class FakeEndpoint:
    uri: bytes = field(default=b"", repr=False)
    vhost: str = "/"
    address: str = "broker:5672"


class FakeBroker:
    """One vhost: takes steps, tells depths, or fails."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.topology_ = Topology()
        self.depths: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self.fault: Fault | None = None
        self.refused: dict[str, BrokerFault] = {}
        self.taken: list[Step] = []
        self.probes: list[tuple[float, frozenset[str]]] = []
        self.sweeps: list[float] = []
        self.looks: list[float] = []
        self.hidden: BrokerFault | None = None
        self.connections: Callable[[], Iterable[Connection]] = tuple
        self.reads = 0
        self.closed = False
        self.conversations: list[FakeControl] = []

    async def topology(self) -> Topology:
        await self._answer()
        self.reads += 1
        return self.topology_

    async def apply(self, steps: Sequence[Step]) -> None:
        await self._answer()
        for step in steps:
            self.taken.append(step)
            self.topology_ = _taken(self.topology_, step)

    async def sweep(self) -> Mapping[str, Sweep]:
        self.sweeps.append(asyncio.get_running_loop().time())
        at = self.clock()
        await self._answer()
        return {
            name: Sweep(at, present=True, running=True, ready=self.depths[name][0], unacked=self.depths[name][1])
            for name in self.topology_.queues
        }

    async def consumers(self) -> ConsumerSnapshot:
        self.looks.append(asyncio.get_running_loop().time())
        at = self.clock()
        await self._answer()
        if self.hidden is not None:
            raise self.hidden
        return ConsumerSnapshot(at, tuple(self.connections()))

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        self.probes.append((asyncio.get_running_loop().time(), frozenset(queues)))
        at = self.clock()
        await self._answer()
        return {name: self._probed(name, at) for name in queues}

    def control_channel(self, heard: Callable[[str, bytes, str], None]) -> "FakeControl":
        self.conversations.append(FakeControl(self, heard))
        return self.conversations[-1]

    @property
    def conversation(self) -> "FakeControl":
        """The last one begun."""
        return self.conversations[-1]

    async def close(self) -> None:
        self.closed = True

    def _probed(self, name: str, at: datetime) -> Probe:
        if name in self.refused:
            return Probe(at, None, fault=self.refused[name])
        return Probe(at, self.depths[name][0]) if name in self.topology_.queues else Probe(at, None, missing=True)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault


class FakeControl:
    """The way to workers; what is sent is kept, and answered by `answer` if there is one."""

    def __init__(self, broker: FakeBroker, heard: Callable[[str, bytes, str], None]) -> None:
        self.fault: BrokerFault | None = None
        self.broker = broker
        self.heard = heard
        self.listens: set[str] = set()
        self.sent: list[tuple[str, bytes]] = []
        self.answer: Callable[[str, bytes], None] | None = None

    def listen(self, taskqueues: Collection[str]) -> None:
        self.listens = set(taskqueues)

    async def send(self, address: str, command: bytes) -> None:
        self.sent.append((address, command))
        if self.answer is not None and self.broker.fault is None:
            self.answer(address, command)

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.broker.conversations.remove(self)


class FakeBrokers:
    """Brokers by what the Secret says."""

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


def _taken(there: Topology, step: Step) -> Topology:
    item = step.item
    if isinstance(item, Binding):
        bindings = there.bindings | {item} if isinstance(step, Declare) else there.bindings - {item}
        return replace(there, bindings=bindings)
    part = {Exchange: "exchanges", Queue: "queues", Policy: "policies"}[type(item)]
    others = {name: each for name, each in getattr(there, part).items() if name != item.name}
    left = others | ({item.name: item} if isinstance(step, Declare) else {})
    bindings = there.bindings
    if not isinstance(step, Declare) and not isinstance(item, Policy):
        bindings = frozenset(each for each in bindings if item.name not in _ends(each, isinstance(item, Queue)))
    changed: dict[str, Any] = {part: left, "bindings": bindings}
    return replace(there, **changed)


def _ends(binding: Binding, of_queue: bool) -> Iterable[str]:  # noqa: FBT001  which kind of name is meant
    if of_queue:
        return (binding.destination,) if binding.to_queue else ()
    return (binding.source,) if binding.to_queue else (binding.source, binding.destination)
