"""Who acts: of several processes the one that holds a Lease, and renews it.

The clocks of machines are never compared. The holder counts from before it sent what was then confirmed, and stops
acting after HELD seconds. A rival counts from after it saw the last sign of life, and waits LEASE seconds. So between
the last act of the one and the first of the other lie LEASE - HELD seconds, however late requests and answers are.
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

LEASE: Final = 15.0
"""Seconds that a rival waits without a sign of life."""
HELD: Final = 10.0
"""Seconds that the holder acts after its last confirmed sign of life; the rest is for writes that are under way."""
RENEW: Final = 2.5
ANSWER: Final = 2.0
"""Seconds after which a request counts as lost; a few of them fit into HELD."""
LOOK: Final = 0.25
"""Seconds between looks of who stands by, and between attempts to renew once one has failed."""

_log = structlog.get_logger("lead")


class Leases(Protocol):
    """One Lease on the API server. Calls raise Fault when it cannot be used."""

    async def read(self) -> Lease | None:
        """Read it; None when there is none."""
        ...

    async def write(self, lease: Lease) -> Lease:
        """Write it if it is still at `lease.version`, or still absent, and return what is there now.

        Raises:
            Conflict: It is not.
        """
        ...


class Leadership:
    """The part of one process: it stands by, leads, and lets go; each of them once.

    Attributes:
        epoch: That of this process's leadership; 0 before.
        rival: Who led when this process last looked; None when it leads or could not look.
    """

    def __init__(self, leases: Leases, identity: str, clock: Clock, now: Callable[[], float]) -> None:
        """`now` is the time of a clock that never jumps and goes on while the process, or the machine, is stopped."""
        self.epoch = 0
        self.rival: str | None = None
        self._leases = leases
        self._identity = identity
        self._clock = clock
        self._now = now
        self._until = -math.inf
        self._lease = Lease()
        self._seen: tuple[Lease | None, float] | None = None
        self._trouble = ""

    def holds(self) -> bool:
        """Whether this process may act now. Costs next to nothing."""
        return self._now() < self._until

    def check(self) -> None:
        """Raise Deposed unless this process may act now; the Guard of everything that writes."""
        if not self.holds():
            raise LeadershipLost("This operator does not lead, or does not any more.")

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Stand by until this process leads; False when it is to stop before."""
        while not stop.is_set():
            if await self._attempt():
                _log.info("leads", identity=self._identity, epoch=self.epoch)
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await stop.wait()
        return False

    async def keep(self) -> NoReturn:
        """Renew the Lease, until cancelled.

        Raises:
            Deposed: It is lost: somebody else has it, or it could not be renewed in time.
        """
        pause = RENEW
        while True:
            await asyncio.sleep(pause)
            pause = RENEW if await self._renew() else LOOK

    async def release(self) -> None:
        """Let go, so that a rival need not wait. Whatever writes must have ended, and `keep` too."""
        if not self.holds():
            return
        self._until = -math.inf
        try:
            async with asyncio.timeout(ANSWER):
                await self._update(holder="", renewed=self._clock())
        except (Conflict, Fault, TimeoutError) as error:
            _log.warning("Lease not released; it runs out", detail=_words(error))
        else:
            _log.info("Lease released", identity=self._identity, epoch=self.epoch)

    async def _attempt(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER):
                there = await self._leases.read()
                free = self._is_free(there)
                self._note_rival(there)
                if free:
                    await self._take(there or Lease())
        except Conflict:
            return False  # somebody was faster; the next look tells who
        except (Fault, TimeoutError) as error:
            self.rival = None
            self._tell("Lease cannot be read or taken", error)
        return self.holds()

    def _is_free(self, there: Lease | None) -> bool:
        """Free is what nobody has, what an earlier life of ours had, and what shows no sign of life for a whole lease.

        One that has vanished may still be believed in by its holder; one that was never there may not.
        """
        if self._seen is None and there is None:
            return True
        if self._seen is None or self._seen[0] != there:
            self._seen = there, self._now()
        if there is not None and there.holder in {"", self._identity}:
            return True
        return self._now() - self._seen[1] >= LEASE

    def _note_rival(self, there: Lease | None) -> None:
        self._trouble = ""
        rival = there.holder if there is not None and there.holder != self._identity else ""
        if rival and rival != self.rival:
            _log.info("stands by", identity=self._identity, leader=rival)
        self.rival = rival or None

    async def _take(self, there: Lease) -> None:
        sent, at = self._now(), self._clock()
        epoch = max(there.epoch + 1, int(at.timestamp()))
        changes = there.transitions + (there.holder != self._identity)
        claim = replace(there, holder=self._identity, epoch=epoch, transitions=changes, acquired=at, renewed=at)
        self._lease = await self._leases.write(claim)
        self.epoch, self.rival, self._until = epoch, None, sent + HELD

    async def _renew(self) -> bool:
        left = self._until - self._now()
        if left <= 0:
            raise LeadershipLost(
                f"The Lease could not be renewed for {HELD:g} s: {self._trouble or 'this process stood still.'}"
            )
        try:
            async with asyncio.timeout(min(ANSWER, left)):
                self._until = await self._update(renewed=self._clock()) + HELD
        except (Fault, TimeoutError) as error:
            self._tell("Lease not renewed", error)
            return False
        self._trouble = ""
        return True

    async def _update(self, **changes: Any) -> float:  # noqa: ANN401  fields of Lease
        """Change our Lease; returns since when, at least, it was ours."""
        while True:
            sent = self._now()
            try:
                self._lease = await self._leases.write(replace(self._lease, **changes))
            except Conflict:
                self._lease = self._recognize(await self._leases.read())
            else:
                return sent

    def _recognize(self, there: Lease | None) -> Lease:
        """Find our Lease changed: by us, when an answer was lost, by the way, or by who has taken it."""
        if there is not None and (there.holder, there.epoch) == (self._identity, self.epoch):
            return there
        self._until = -math.inf
        raise LeadershipLost(
            f"{there.holder or 'Nobody'} has the Lease." if there is not None else "The Lease was deleted."
        )

    def _tell(self, what: str, error: Exception) -> None:
        """Log the first of several troubles that are the same."""
        trouble, self._trouble = self._trouble, _words(error)
        if trouble != self._trouble:
            _log.warning(what, detail=self._trouble)


def _words(error: Exception) -> str:
    return str(error) or f"no answer within {ANSWER:g} s"
