"""Leader election: of several processes, the holder of a Lease acts, and renews it.

The clocks of machines are never compared. The holder counts from before it sent the renewal that was confirmed, and
stops acting RENEW_DEADLINE after that. A candidate counts from after it read the last renewal, and waits for
LEASE_DURATION. So LEASE_DURATION - RENEW_DEADLINE lie between the last act of the holder and the first act of the
candidate, however late requests and answers are. The constants have client-go's names and meaning; all are in seconds.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, NoReturn, Protocol

import structlog

from taskqueue_operator.resource.faults import Conflict, Fault, LeadershipLost
from taskqueue_operator.resource.lease import Lease

from .clock import Clock

LEASE_DURATION: Final = 15.0
"""How long a candidate waits after the last renewal that it read."""
RENEW_DEADLINE: Final = 10.0
"""How long the holder acts after its last confirmed renewal; the rest is for writes that are under way."""
RENEW_PERIOD: Final = 2.5
REQUEST_TIMEOUT: Final = 2.0
"""When a request counts as lost; several requests fit into RENEW_DEADLINE."""
RETRY_PERIOD: Final = 0.25
"""Time between two attempts to acquire the Lease, and between two attempts to renew it after one has failed."""

_log = structlog.get_logger("leader_election")


class Leases(Protocol):
    """One Lease on the API server."""

    async def read(self) -> Lease | None:
        """Return the Lease; None if it does not exist.

        Raises:
            Fault: The API server cannot be used.
        """
        ...

    async def write(self, lease: Lease) -> Lease:
        """Write the Lease if it is still at `lease.version`, or still absent; return the written one.

        Raises:
            Conflict: It has changed.
            Fault: The API server cannot be used.
        """
        ...


class Leadership:
    """The leadership of one process: acquired, renewed and released once.

    Attributes:
        epoch: Epoch of this process's leadership; 0 before it.
        current_leader: Identity of the other process that led at the last read; None if this process leads or the read
            failed.
    """

    def __init__(self, leases: Leases, identity: str, clock: Clock, now: Callable[[], float]) -> None:
        """Create the leadership of a process that does not lead yet.

        Args:
            leases: The Lease.
            identity: Identifies this process; no other process may have it.
            clock: For the times that the Lease shows.
            now: Returns seconds of a clock that never jumps and continues while the process or the machine is stopped.
        """
        self.epoch = 0
        self.current_leader: str | None = None
        self._leases = leases
        self._identity = identity
        self._clock = clock
        self._now = now
        self._leads_until = -math.inf
        self._lease = Lease()
        self._last_read: tuple[Lease | None, float] | None = None
        self._last_error = ""

    def is_leader(self) -> bool:
        """Whether this process may act now."""
        return self._now() < self._leads_until

    def check(self) -> None:
        """Guard a write.

        Raises:
            LeadershipLost: This process is not the leader.
        """
        if not self.is_leader():
            raise LeadershipLost("This process is not the leader.")

    async def confirm(self) -> bool:
        """Return whether the Lease, read now, names this process and its epoch; False if it cannot be read."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                lease = await self._leases.read()
        except (Fault, TimeoutError):
            return False
        return lease is not None and (lease.holder, lease.epoch) == (self._identity, self.epoch)

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait until this process leads; returns False if `stop` is set before."""
        while not stop.is_set():
            if await self._try_to_acquire():
                _log.info("became leader", identity=self._identity, epoch=self.epoch)
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_PERIOD):
                    await stop.wait()
        return False

    async def renew_loop(self) -> NoReturn:
        """Renew the Lease until cancelled.

        Raises:
            LeadershipLost: Another process holds the Lease, or it could not be renewed in time.
        """
        delay = RENEW_PERIOD
        while True:
            await asyncio.sleep(delay)
            delay = RENEW_PERIOD if await self._renew() else RETRY_PERIOD

    async def release(self) -> None:
        """Release the Lease, so that a candidate need not wait. All writers and `renew_loop` must have ended before."""
        if not self.is_leader():
            return
        self._leads_until = -math.inf
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await self._update(holder="", renewed=self._clock())
        except (Conflict, Fault, TimeoutError) as error:
            _log.warning("Lease not released, it expires", detail=_describe(error))
        else:
            _log.info("Lease released", identity=self._identity, epoch=self.epoch)

    async def _try_to_acquire(self) -> bool:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                lease = await self._leases.read()
                available = self._is_available(lease)
                self._record_leader(lease)
                if available:
                    await self._acquire(lease or Lease())
        except Conflict:
            return False  # another process was faster; the next read shows which one
        except (Fault, TimeoutError) as error:
            self.current_leader = None
            self._log_once("Lease not acquired", error)
        return self.is_leader()

    def _is_available(self, lease: Lease | None) -> bool:
        """Whether the Lease can be acquired.

        It can if it has no holder, if this process held it before a restart, or if it has not been renewed for
        LEASE_DURATION. After a deletion its former holder may still act; if it never existed, there is none.
        """
        if self._last_read is None and lease is None:
            return True
        if self._last_read is None or self._last_read[0] != lease:
            self._last_read = lease, self._now()
        if lease is not None and lease.holder in {"", self._identity}:
            return True
        return self._now() - self._last_read[1] >= LEASE_DURATION

    def _record_leader(self, lease: Lease | None) -> None:
        self._last_error = ""
        leader = lease.holder if lease is not None and lease.holder != self._identity else ""
        if leader and leader != self.current_leader:
            _log.info("waiting for leadership", identity=self._identity, leader=leader)
        self.current_leader = leader or None

    async def _acquire(self, lease: Lease) -> None:
        sent_at, time = self._now(), self._clock()
        epoch = max(lease.epoch + 1, int(time.timestamp()))
        transitions = lease.transitions + (lease.holder != self._identity)
        claim = replace(lease, holder=self._identity, epoch=epoch, transitions=transitions, acquired=time, renewed=time)
        self._lease = await self._leases.write(claim)
        self.epoch, self.current_leader, self._leads_until = epoch, None, sent_at + RENEW_DEADLINE

    async def _renew(self) -> bool:
        left = self._leads_until - self._now()
        if left <= 0:
            cause = self._last_error or "this process did not run."
            raise LeadershipLost(f"The Lease could not be renewed for {RENEW_DEADLINE:g} s: {cause}")
        try:
            async with asyncio.timeout(min(REQUEST_TIMEOUT, left)):
                self._leads_until = await self._update(renewed=self._clock()) + RENEW_DEADLINE
        except (Fault, TimeoutError) as error:
            self._log_once("Lease not renewed", error)
            return False
        self._last_error = ""
        return True

    async def _update(self, **changes: Any) -> float:  # noqa: ANN401  fields of Lease
        """Change the Lease that this process holds; returns a time at which it certainly held it."""
        while True:
            sent_at = self._now()
            try:
                self._lease = await self._leases.write(replace(self._lease, **changes))
            except Conflict:
                self._lease = self._verify_holder(await self._leases.read())
            else:
                return sent_at

    def _verify_holder(self, lease: Lease | None) -> Lease:
        """Return the changed Lease if this process still holds it: an answer was lost, or its metadata changed.

        Raises:
            LeadershipLost: Another process holds it, or it was deleted.
        """
        if lease is not None and (lease.holder, lease.epoch) == (self._identity, self.epoch):
            return lease
        self._leads_until = -math.inf
        if lease is None:
            raise LeadershipLost("The Lease was deleted.")
        raise LeadershipLost(f"{lease.holder} holds the Lease." if lease.holder else "The Lease has no holder.")

    def _log_once(self, event: str, error: Exception) -> None:
        """Log the first of several equal errors."""
        before, self._last_error = self._last_error, _describe(error)
        if before != self._last_error:
            _log.warning(event, detail=self._last_error)


def _describe(error: Exception) -> str:
    return str(error) or f"no answer within {REQUEST_TIMEOUT:g} s"
