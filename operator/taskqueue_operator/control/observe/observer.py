"""Reads all followed queues of one endpoint: probes several times a second, sweeps and topology every few seconds.

There is one observer per (URIs, vhost, credentials), however many TaskQueues share it. It stores samples and notifies
its listener which TaskQueues to re-evaluate. It makes no decisions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Endpoint, Vhost
from taskqueue_operator.control.single_flight import SingleFlight, Waiting
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.control.workqueue import WaitForEvent
from taskqueue_operator.drain.consumers import ConsumerSnapshot
from taskqueue_operator.drain.context import QueueState
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import Reading, Sweep
from taskqueue_operator.topology.objects import Topology

from .consumer_poller import SOURCE as CONSUMERS
from .consumer_poller import ConsumerPoller
from .events import ObserverEvents
from .followed_queues import FollowedQueues
from .probe_answers import ProbeAnswers
from .probe_rounds import PROBE_PERIOD_SECONDS, ProbeRounds
from .probe_shares import ZERO_PROBE_PERIOD_SECONDS
from .read_health import ReadHealth
from .report_subscriptions import ReportSubscriptions
from .rounds import Rounds, spread
from .shares import Shares

SWEEP_PERIOD_SECONDS: Final = 5.0
ALARMS: Final = "alarms"
ALARMS_DELAY_SECONDS: Final = SWEEP_PERIOD_SECONDS / 2
"""Alarms are read halfway between two sweeps, so that the HTTP connection stays open from sweep to sweep."""


class Observer:
    """Reads queues on behalf of TaskQueues.

    Attributes:
        endpoint: Where it reads.
        vhost: What it reads.
    """

    def __init__(  # noqa: PLR0913  the parts that make a reader
        self,
        endpoint: Endpoint,
        vhost: Vhost,
        listener: ObserverEvents,
        telemetry: Telemetry,
        clock: Clock,
        *,
        shares: Shares | None = None,
        number: int = 0,
    ) -> None:
        """`shares` is what all observers of the process have together, and their numbers spread their rounds."""
        self._number = number
        self.endpoint = endpoint
        self.vhost = vhost
        self._topology = SingleFlight(vhost.topology)
        self._listener = listener
        self._clock = clock
        self._has_answered = False
        self._followed = FollowedQueues(clock)
        self._log = structlog.get_logger("observe").bind(broker=endpoint.address, vhost=endpoint.vhost)
        self._health = ReadHealth(self._log, telemetry, lambda: listener.on_broker_health(self.keys))
        self._probe_answers = ProbeAnswers(self._followed, listener, telemetry, self._log)
        self._probe_rounds = ProbeRounds(vhost, self._health, self._probe_answers.store)
        self._subscriptions = ReportSubscriptions(vhost.control_channel(listener.on_worker_report))
        self._shares = shares or Shares()
        self._topology_size = 0
        self._consumer_poller = ConsumerPoller(vhost.consumers)
        self._alarms = frozenset[str]()

    @property
    def faults(self) -> Mapping[str, Fault]:
        """The fault of each source: `probe`, `sweep`, `topology`, `consumers`, `alarms`."""
        return self._health.faults

    @property
    def keys(self) -> set[Key]:
        """The TaskQueues on whose behalf it reads."""
        return self._followed.keys

    @property
    def fault(self) -> Fault | None:
        """Why the broker cannot be used at present; None while it can. That of the AMQP connection comes first."""
        return next((self.faults[source] for source in ("probe", "sweep") if source in self.faults), None)

    @property
    def alarms(self) -> frozenset[str]:
        """Resources for which the broker has an alarm, `memory` or `disk`; none while it cannot be asked."""
        return self._alarms if ALARMS not in self.faults else frozenset()

    def fault_at(self, queue: str) -> Fault | None:
        """Why a queue cannot be read at present: a fault of the broker, or of the permission for this queue."""
        samples = self._followed.samples(queue)
        return self.fault or (samples.probe.fault if samples is not None and samples.probe is not None else None)

    def follow(self, key: Key, *queues: str, dead_letters: str | None = None) -> None:
        """Read these queues and this dead-letter queue on behalf of a TaskQueue, and no longer any others."""
        self._followed.follow(key, queues)
        self._followed.dead_letters.follow(key, dead_letters)
        if not queues:
            self.subscribe_reports(key, enabled=False)

    def require(self, key: Key, queues: Collection[str]) -> None:
        """Notify the listener when one of these queues of a TaskQueue is missing, although it is not read."""
        self._followed.require(key, queues)

    def subscribe_reports(self, key: Key, *, enabled: bool) -> None:
        """Subscribe to the worker reports of a TaskQueue, or unsubscribe."""
        self._subscriptions.subscribe(key, enabled=enabled)

    @property
    def control_channel_fault(self) -> Fault | None:
        """Why no worker report can arrive at present; None while reports can arrive."""
        return self._subscriptions.control_channel.fault

    async def send_commands(self, commands: Sequence[tuple[str, bytes]]) -> None:
        """Send commands in order, each to the address of a worker."""
        await self._subscriptions.control_channel.send(commands)

    def consumer_snapshots(self) -> tuple[ConsumerSnapshot, ...]:
        """Return the last snapshots of consumers, oldest first. Polling continues only while this is called."""
        return self._consumer_poller.snapshots()

    def survey_consumers(self) -> ConsumerSnapshot | None:
        """Return a snapshot of consumers that may be a minute old. Another one follows only if this is called again."""
        return self._consumer_poller.survey()

    @property
    def consumer_poll_fault(self) -> Fault | None:
        """Why consumers cannot be listed at present; None while they can."""
        return self.faults.get(CONSUMERS)

    def discard_samples(self, queue: str) -> None:
        """Discard the samples of a queue: a write has made them obsolete."""
        self._followed.discard_samples(queue)

    async def topology(self, waiting: Waiting = nullcontext) -> Topology:
        """Read all objects of the vhost; simultaneous callers share one request, and each receives the newest answer.

        A broker that does not answer is not asked: no one waits for it. The next sweep shows whether it answers again.

        Raises:
            WaitForEvent: The broker has not answered yet.
            BrokerFault: The broker cannot be used.
            Conflict: The observer was closed meanwhile.
        """
        fault = self.faults.get("sweep") if self._has_answered else self.fault
        if fault is not None:
            raise fault
        if not self._has_answered:
            raise WaitForEvent
        return await self._topology(waiting)

    def reading(self, queue: str) -> Reading:
        """Return the bounds of a queue's depth as known now."""
        return self._followed.reading(queue)

    def queue_state(self, queue: str) -> QueueState:
        """Return what a drain plan needs to know of a queue now."""
        return self._followed.queue_state(queue)

    def consumers(self, queue: str) -> int | None:
        """Return the number of consumers that the last probe found; None if it is unknown."""
        return self._followed.consumers(queue)

    def dead_letters(self, key: Key) -> int | None:
        """Return the number of messages in the dead-letter queue of a TaskQueue at the last sweep that contained it."""
        return self._followed.dead_letters.of(key)

    def delayed(self, queue: str) -> int | None:
        """Return the number of delayed retries of a queue by the last sweep, at most; None if it is unknown."""
        return self._followed.delayed(queue)

    @property
    def has_overdue_retries(self) -> bool:
        """Whether a delay queue of the vhost holds retries whose time has come, of any TaskQueue."""
        return self._followed.has_overdue_retries

    @property
    def parked(self) -> int:
        """Number of retries in the parking queue of the vhost, whose queues do not exist any more."""
        return self._followed.parked

    def last_messages(self, queue: str) -> int | None:
        """Return how many messages a queue had in any state when it was last read; None if it was not."""
        return self._followed.last_messages(queue)

    def read_at(self, queue: str) -> datetime | None:
        """Return when the last probe that returned a depth was sent; None before the first one."""
        return self._followed.read_at(queue)

    async def run(self) -> None:
        """Read until cancelled, then close the broker's connections."""
        try:
            async with asyncio.TaskGroup() as group:
                ahead = spread(self._number) * ZERO_PROBE_PERIOD_SECONDS
                for at_zero, period_of in ((False, lambda _: PROBE_PERIOD_SECONDS), (True, self._zero_probe_period)):
                    queues_to_probe = partial(self._queues_to_probe, at_zero=at_zero)
                    group.create_task(self._probe_rounds.run(group, queues_to_probe, period_of, ahead))
                group.create_task(self._subscriptions.control_channel.run())
                group.create_task(self._consumer_poller.run(self._health))
                sweep_period = partial(float, SWEEP_PERIOD_SECONDS)
                group.create_task(self._repeat("sweep", self._sweep, sweep_period))
                group.create_task(self._repeat(ALARMS, self._read_alarms, sweep_period, ALARMS_DELAY_SECONDS))
                group.create_task(self._repeat("topology", self._read_topology, self._topology_period))
        finally:
            self._shares.forget(self)
            await self._topology.close()
            await self.vhost.close()

    async def _repeat(
        self, source: str, read: Callable[[], Awaitable[bool]], period: Callable[[], float], delay: float = 0.0
    ) -> None:
        await asyncio.sleep(delay)
        # Otherwise all observers that start together read together, and parse all answers in one piece.
        rounds = Rounds(ahead=spread(self._number) * period())
        while True:
            await self._health.run(source, read)
            await rounds.next(period())

    def _queues_to_probe(self, *, at_zero: bool) -> list[str]:
        is_at_zero = self._probe_answers.is_at_zero
        return [queue for queue, samples in self._followed.items() if is_at_zero(samples) == at_zero]

    def _zero_probe_period(self, queues: int) -> float:
        endpoint = self.endpoint
        return self._shares.probes.period(self, endpoint.address, endpoint.namespace, queues=queues)

    def _topology_period(self) -> float:
        return self._shares.topology.period(self, self.endpoint.namespace, objects=self._topology_size)

    async def _sweep(self) -> bool:
        if not self._followed:
            return False
        queues, sent_at = list(self._followed), self._clock()

        async def sweep() -> Mapping[str, Sweep]:
            answers = await self.vhost.sweep()
            for key in self._followed.lacking(answers):
                self._listener.on_queue_missing(key)
            followed = self._followed
            changed = followed.dead_letters.store(answers) | followed.store_delayed(answers)
            if changed := changed | followed.store_parked(answers):
                self._listener.on_counts(changed)
            return {queue: answers.get(queue) or Sweep(sent_at, present=False) for queue in queues}

        self._followed.store_sweeps(await self._health.measure("sweep", queues, sweep))
        if not self._has_answered:
            self._has_answered = True
            self._listener.on_answering(self.keys)
        return True

    async def _read_alarms(self) -> bool:
        if not self._followed:
            return False
        before, self._alarms = self._alarms, await self.vhost.alarms()
        if self._alarms != before:
            self._log.warning("broker alarms changed", alarms=sorted(self._alarms))
            self._listener.on_broker_health(self.keys)
        return True

    async def _read_topology(self) -> bool:
        if not self._followed:
            return False
        actual = await self._topology()
        self._topology_size = actual.size
        self._subscriptions.restore(actual)
        # Not before the read: at a start most TaskQueues are added during the first one.
        await self._listener.on_topology(self.keys, actual)
        return True
