"""Reads all followed queues of one endpoint: probes in short steps, sweeps every few seconds, topology now and then.

One observer per (URIs, vhost, credentials), however many TaskQueues share it. It concludes nothing: it keeps samples,
and tells its listener which TaskQueues have something new to consider.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Endpoint, Vhost
from taskqueue_operator.control.single_flight import SingleFlight
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.drain.consumers import ConsumerSnapshot
from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Probe, Reading, Sweep
from taskqueue_operator.topology.objects import Topology

from .consumer_poller import SIDE, ConsumerPoller
from .events import ObserverEvents
from .read_health import ReadHealth
from .rounds import Plan, now, portions, turn, until
from .samples import Samples, state

AWAKE_PERIOD: Final = 1.0
ASLEEP_PERIOD: Final = 0.25
ASLEEP_RATE: Final = 4000
"""Passive declares per second that sleeping queues may cost at most."""
SWEEP_PERIOD: Final = 5.0
VERIFY_PERIOD: Final = 30.0


class Observer:
    """Follows queues on behalf of TaskQueues."""

    def __init__(
        self, endpoint: Endpoint, broker: Vhost, listener: ObserverEvents, telemetry: Telemetry, clock: Clock
    ) -> None:
        self.endpoint = endpoint
        self.broker = broker
        self._topology = SingleFlight(broker.topology)
        self._listener = listener
        self._telemetry = telemetry
        self._clock = clock
        self._followed: dict[str, Samples] = {}
        self._queues: dict[Key, set[str]] = {}
        self._under_way: set[str] = set()
        self._log = structlog.get_logger("observe").bind(broker=endpoint.address, vhost=endpoint.vhost)
        self._attempts = ReadHealth(self._log, telemetry, lambda: listener.on_broker_health(self.keys))
        self._control = broker.control_channel(listener.on_worker_report)
        self._heard: set[Key] = set()
        self._lookout = ConsumerPoller(broker.consumers)

    @property
    def faults(self) -> Mapping[str, Fault]:
        """What stands in the way of each side that reads: `probe`, `sweep`, `topology`."""
        return self._attempts.faults

    @property
    def keys(self) -> set[Key]:
        """The TaskQueues on whose behalf it reads."""
        return set(self._queues)

    @property
    def fault(self) -> Fault | None:
        """Why the broker cannot be used at present, if so; the AMQP side first."""
        return next((self.faults[side] for side in ("probe", "sweep") if side in self.faults), None)

    def fault_at(self, queue: str) -> Fault | None:
        """Why a queue cannot be read at present, if so: because of the broker, or of a permission for it alone."""
        followed = self._followed.get(queue)
        return self.fault or (followed.probe.fault if followed is not None and followed.probe is not None else None)

    def follow(self, key: Key, *queues: str) -> None:
        """Read these queues on behalf of a TaskQueue, and no others any more."""
        for queue in self._queues.pop(key, set()) - set(queues):
            self._followed[queue].keys.discard(key)
            if not self._followed[queue].keys:
                del self._followed[queue]
        if not queues:
            self.subscribe_reports(key, wanted=False)
        for queue in queues:
            self._queues.setdefault(key, set()).add(queue)
            if queue not in self._followed:
                self._followed[queue] = Samples((), self._clock())
            self._followed[queue].keys.add(key)

    def subscribe_reports(self, key: Key, *, wanted: bool) -> None:
        """Hear the workers of a TaskQueue, or not any more."""
        if wanted != (key in self._heard):
            self._heard ^= {key}
            self._control.listen({str(key) for key in self._heard})

    @property
    def control_channel_fault(self) -> Fault | None:
        """Why no worker is heard at present, if so."""
        return self._control.fault

    async def send_command(self, address: str, command: bytes) -> None:
        """Send a command to a worker."""
        await self._control.send(address, command)

    def consumer_snapshots(self) -> tuple[ConsumerSnapshot, ...]:
        """Give the last looks at who is connected, oldest first; they are taken only while somebody asks for them."""
        return self._lookout.ask()

    @property
    def consumer_poll_fault(self) -> Fault | None:
        """Why nobody can be looked at at present, if so."""
        return self.faults.get(SIDE)

    def discard_samples(self, queue: str) -> None:
        """Forget the samples of a queue: what was asked until now says nothing any more."""
        if queue in self._followed:
            self._followed[queue] = Samples(self._followed[queue].keys, self._clock())

    async def topology(self) -> Topology:
        """Read all objects of the vhost; simultaneous callers share one request.

        Raises:
            BrokerFault: The broker cannot be used.
            Conflict: The observer was closed meanwhile.
        """
        return await self._topology()

    def reading(self, queue: str) -> Reading:
        """Say what may be believed of a queue now."""
        followed, at = self._followed.get(queue), self._clock()
        probes, sweeps = (followed.probes, followed.sweeps) if followed is not None else ((), ())
        return Reading.from_samples(probes, sweeps, at)

    def queue_state(self, queue: str) -> QueueState:
        """Say what removing workers needs to know of a queue now."""
        followed, at = self._followed.get(queue), self._clock()
        return state(followed.probes, followed.sweeps, at) if followed is not None else QueueState(running=False)

    def read_at(self, queue: str) -> datetime | None:
        """Say when the last probe that had a figure was asked; None while there was none."""
        followed = self._followed.get(queue)
        return followed.read_at if followed is not None else None

    async def run(self) -> None:
        """Read until cancelled, then let go of the broker."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._probe_in_rounds(group, asleep=False))
                group.create_task(self._probe_in_rounds(group, asleep=True))
                group.create_task(self._control.run())
                group.create_task(self._lookout.run(self._attempts))
                group.create_task(self._repeat("sweep", self._sweep, SWEEP_PERIOD))
                group.create_task(self._repeat("topology", self._verify, VERIFY_PERIOD))
        finally:
            await self._topology.close()
            await self.broker.close()

    async def _repeat(self, side: str, read: Callable[[], Awaitable[None]], period: float) -> None:
        plan = Plan()
        while True:
            await self._attempts.run(side, read)
            await plan.next(period)

    async def _probe_in_rounds(self, group: asyncio.TaskGroup, *, asleep: bool) -> None:
        plan = Plan()
        while True:
            queues = [queue for queue, each in self._followed.items() if self._is_asleep(each) == asleep]
            period = max(ASLEEP_PERIOD, len(queues) / ASLEEP_RATE) if asleep else AWAKE_PERIOD
            for place, portion in portions(queues, period):
                await until(plan.begin + place)
                # Nobody waits: a portion that takes long, for a slow queue, is to delay no other.
                group.create_task(self._attempts.run("probe", partial(self._probe, portion, plan.begin + place)))
            await plan.next(period)

    def _is_asleep(self, followed: Samples) -> bool:
        return all(self._listener.is_scaled_to_zero(key) for key in followed.keys)

    async def _probe(self, queues: Sequence[str], planned: float) -> None:
        asked = [queue for queue in queues if queue not in self._under_way]
        answers: Mapping[str, Probe] = {}
        self._under_way.update(asked)
        try:
            answers = await self._attempts.ask("probe", asked, lambda: self.broker.probe(asked)) if asked else {}
        finally:
            self._under_way.difference_update(asked)
            # Without an answer too: readings age, and what the user asks for may have changed.
            self._listener.on_readings(self._concerned(queues, answers))
            self._telemetry.late(now() - planned)

    def _concerned(self, queues: Sequence[str], answers: Mapping[str, Probe]) -> set[Key]:
        """Take the answers, and say who is to consider anew: those awake always, those asleep when there is news."""
        concerned: set[Key] = set()
        for queue in queues:
            followed = self._followed.get(queue)
            if followed is None:
                continue
            news = queue in answers and self._probed(queue, followed, answers[queue])
            latest = turn(queue, SWEEP_PERIOD)
            if news or followed.turn != latest or not self._is_asleep(followed):
                concerned |= followed.keys
                followed.turn = latest
        return concerned

    def _probed(self, queue: str, followed: Samples, answer: Probe) -> bool:
        """Keep an answer, and say whether it is news to a queue without workers."""
        before = followed.probe
        if not followed.probed(answer):
            return False
        if _refusal(before) != _refusal(answer):
            self._refused(queue, followed, answer.fault)
        # Once, not at every probe: a queue whose node is down is listed and yet not found for as long as that lasts.
        if answer.missing and (before is None or not before.missing):
            for key in followed.keys:
                self._listener.on_queue_missing(key)
        return not answer.missing and (before is None or bool(before.ready) or answer.ready != 0)

    async def _sweep(self) -> None:
        if not self._followed:
            return
        queues, asked = list(self._followed), self._clock()

        async def sweep() -> Mapping[str, Sweep]:
            answers = await self.broker.sweep()
            return {queue: answers.get(queue) or Sweep(asked, present=False) for queue in queues}

        for queue, answer in (await self._attempts.ask("sweep", queues, sweep)).items():
            if queue in self._followed:
                self._followed[queue].swept(answer)

    def _refused(self, queue: str, followed: Samples, fault: Fault | None) -> None:
        if fault is not None:
            self._log.warning("queue cannot be read", queue=queue, reason=fault.reason, detail=fault.message)
        self._listener.on_broker_health(followed.keys)

    async def _verify(self) -> None:
        if self._followed:
            there = await self.topology()
            self._listener.on_topology(self.keys, there)


def _refusal(probe: Probe | None) -> str | None:
    return probe.fault.message if probe is not None and probe.fault is not None else None
