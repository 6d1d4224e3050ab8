"""Reads all followed queues of one endpoint: probes in short steps, sweeps every few seconds, topology now and then.

One observer per (URIs, vhost, credentials), however many TaskQueues share it. It concludes nothing: it keeps samples,
and tells its listener which TaskQueues have something new to consider.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

import structlog

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.scaling.reading import HORIZON, Probe, Reading, Sweep, interval
from taskqueue_operator.topology.objects import Topology

from .clock import Clock
from .ports import Broker, Endpoint
from .shared import Shared

AWAKE_PERIOD: Final = 1.0
ASLEEP_PERIOD: Final = 0.25
ASLEEP_RATE: Final = 4000
"""Passive declares per second that sleeping queues may cost at most."""
SWEEP_PERIOD: Final = 5.0
VERIFY_PERIOD: Final = 30.0


class Listener(Protocol):
    """Who wants to know."""

    def asleep(self, key: Key) -> bool:
        """Whether a TaskQueue has no workers."""
        ...

    def read(self, keys: Collection[Key]) -> None:
        """There is something new to consider for these."""
        ...

    def missed(self, key: Key) -> None:
        """The queue of this TaskQueue is not on the broker."""
        ...

    def verify(self, keys: Collection[Key], there: Topology) -> None:
        """This is what the broker holds."""
        ...

    def faulted(self, keys: Collection[Key]) -> None:
        """The broker cannot be used, or can be used again."""
        ...


@dataclass(slots=True)
class _Followed:
    """Samples of one queue, oldest first; several TaskQueues may scale on an external one."""

    keys: set[Key]
    probes: deque[Probe] = field(default_factory=deque)
    sweeps: deque[Sweep] = field(default_factory=deque)
    read_at: datetime | None = None

    @property
    def probe(self) -> Probe | None:
        """The last one."""
        return self.probes[-1] if self.probes else None

    def probed(self, probe: Probe) -> None:
        """Keep what is within the horizon."""
        self.probes.append(probe)
        if probe.ready is not None:
            self.read_at = probe.at
        while probe.at - self.probes[0].at > HORIZON:
            self.probes.popleft()

    def swept(self, sweep: Sweep) -> None:
        """Keep one sample beyond the horizon: it tells that the queue is not young."""
        self.sweeps.append(sweep)
        while len(self.sweeps) > 1 and sweep.at - self.sweeps[1].at > HORIZON:
            self.sweeps.popleft()


class Observer:
    """Follows queues on behalf of TaskQueues."""

    def __init__(self, endpoint: Endpoint, broker: Broker, listener: Listener, clock: Clock) -> None:
        self.endpoint = endpoint
        self.broker = broker
        self.topology = Shared(broker.topology)
        self.faults: dict[str, Fault] = {}
        self._listener = listener
        self._clock = clock
        self._followed: dict[str, _Followed] = {}
        self._queues: dict[Key, set[str]] = {}
        self._log = structlog.get_logger("observe").bind(broker=endpoint.address, vhost=endpoint.vhost)

    @property
    def keys(self) -> set[Key]:
        """The TaskQueues on whose behalf it reads."""
        return set(self._queues)

    @property
    def fault(self) -> Fault | None:
        """Why the broker cannot be used at present, if so; the AMQP side first."""
        return next((self.faults[side] for side in ("awake", "asleep", "sweep") if side in self.faults), None)

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
        for queue in queues:
            self._queues.setdefault(key, set()).add(queue)
            self._followed.setdefault(queue, _Followed(set())).keys.add(key)

    def restart(self, queue: str) -> None:
        """Forget the samples of a queue: what was read until now says nothing any more."""
        if queue in self._followed:
            self._followed[queue] = _Followed(self._followed[queue].keys)

    def reading(self, queue: str) -> Reading:
        """Say what may be believed of a queue now."""
        followed = self._followed.get(queue) or _Followed(set())
        return interval(followed.probes, followed.sweeps, self._clock())

    def read_at(self, queue: str) -> datetime | None:
        """Say when the last probe that had a figure was asked; None while there was none."""
        followed = self._followed.get(queue)
        return followed.read_at if followed is not None else None

    async def run(self) -> None:
        """Read until cancelled, then let go of the broker."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._repeat("awake", self._probe_awake, lambda: AWAKE_PERIOD))
                group.create_task(self._repeat("asleep", self._probe_asleep, self._asleep_period))
                group.create_task(self._repeat("sweep", self._sweep, lambda: SWEEP_PERIOD))
                group.create_task(self._repeat("topology", self._verify, lambda: VERIFY_PERIOD))
        finally:
            await self.topology.close()
            await self.broker.close()

    async def _repeat(self, side: str, read: Callable[[], Awaitable[None]], period: Callable[[], float]) -> None:
        # Failures need no backoff of their own: a period is never hot, and the broker's side paces its reconnects.
        while True:
            try:
                await read()
                self._recovered(side)
            except Fault as fault:
                self._failed(side, fault)
            except (Exception, asyncio.CancelledError) as error:
                # A reader that dies would leave its queues unread for ever, and libraries raise a CancelledError too
                # where nobody has cancelled.
                if isinstance(error, asyncio.CancelledError) and _cancelled():
                    raise
                self._log.exception("reading failed", side=side)
                self._failed(side, Fault(Reason.INTERNAL_ERROR, "The operator failed; its log says why."))
            await asyncio.sleep(period())

    def _failed(self, side: str, fault: Fault) -> None:
        before = self.faults.get(side)
        self.faults[side] = fault
        if before is None or before.message != fault.message:
            self._log.warning("broker cannot be read", side=side, reason=fault.reason, detail=fault.message)
            self._listener.faulted(self.keys)

    def _recovered(self, side: str) -> None:
        if self.faults.pop(side, None) is not None:
            self._log.info("broker can be read again", side=side)
            self._listener.faulted(self.keys)

    def _asleep_period(self) -> float:
        return max(ASLEEP_PERIOD, len(self._followed) / ASLEEP_RATE)

    def _is_asleep(self, followed: _Followed) -> bool:
        return all(self._listener.asleep(key) for key in followed.keys)

    async def _probe_awake(self) -> None:
        await self._probe([queue for queue, followed in self._followed.items() if not self._is_asleep(followed)])

    async def _probe_asleep(self) -> None:
        await self._probe([queue for queue, followed in self._followed.items() if self._is_asleep(followed)])

    async def _probe(self, queues: list[str]) -> None:
        answers = await self.broker.probe(queues) if queues else {}
        concerned: set[Key] = set()
        for queue, answer in answers.items():
            followed = self._followed.get(queue)
            if followed is None:
                continue
            before = followed.probe
            quiet = before is not None and answer.ready == before.ready == 0
            followed.probed(answer)
            if _refusal(before) != _refusal(answer):
                self._refused(queue, followed, answer.fault)
            if answer.missing:
                self._miss(followed, before)
            elif not quiet or not self._is_asleep(followed):
                concerned |= followed.keys
        self._listener.read(concerned)

    async def _sweep(self) -> None:
        if not self._followed:
            return
        asked = self._clock()
        try:
            answers = await self.broker.sweep()
            for queue, followed in self._followed.items():
                followed.swept(answers.get(queue) or Sweep(asked, present=False))
        finally:
            # Without an answer too: readings age, and what the user asks for may have changed.
            self._listener.read(self.keys)

    def _miss(self, followed: _Followed, before: Probe | None) -> None:
        # Once, not at every probe: a queue whose node is down is listed and yet not found for as long as that lasts.
        if before is None or not before.missing:
            for key in followed.keys:
                self._listener.missed(key)

    def _refused(self, queue: str, followed: _Followed, fault: Fault | None) -> None:
        if fault is not None:
            self._log.warning("queue cannot be read", queue=queue, reason=fault.reason, detail=fault.message)
        self._listener.faulted(followed.keys)

    async def _verify(self) -> None:
        if self._followed:
            there = await self.topology()
            self._listener.verify(self.keys, there)


def _refusal(probe: Probe | None) -> str | None:
    return probe.fault.message if probe is not None and probe.fault is not None else None


def _cancelled() -> bool:
    """Whether somebody wants the present task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
