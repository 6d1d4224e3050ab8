"""Rivals for one Lease in virtual time, and all that can happen to processes and to what lies between them."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from dataclasses import replace
from types import coroutine
from typing import Any, TypeVar

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.leader_election import Leadership
from taskqueue_operator.resource.faults import Conflict, LeadershipLost
from taskqueue_operator.resource.lease import Lease

Answer = TypeVar("Answer")


class Server:
    """The one truth."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self.writes: list[Lease] = []
        self._version = 0

    def read(self) -> Lease | None:
        return self.lease

    def write(self, lease: Lease) -> Lease:
        if lease.version != (self.lease.version if self.lease is not None else ""):
            raise Conflict(lease.version)
        self.lease = self.touch(lease)
        self.writes.append(self.lease)
        return self.lease

    def touch(self, lease: Lease) -> Lease:
        """Give it a new version, as every write does, also that of a passer-by."""
        self._version += 1
        return replace(lease, version=str(self._version))


class Wire:
    """The way of one process to the server. What was sent arrives, even when nobody waits for the answer any more.

    Attributes:
        cut: Nothing arrives at either end.
        mute: Requests arrive, answers do not.
        seconds: How long a request takes, and as long the answer.
    """

    def __init__(self, server: Server) -> None:
        self.cut = self.mute = False
        self.seconds = 0.01
        self._server = server

    def break_(self) -> None:
        self.cut = True

    def silence(self) -> None:
        self.mute = True

    def slow_down(self) -> None:
        self.seconds = 1.9

    def mend(self) -> None:
        self.cut = self.mute = False
        self.seconds = 0.01

    async def read(self) -> Lease | None:
        return await self._ask(self._server.read)

    async def write(self, lease: Lease) -> Lease:
        return await self._ask(lambda: self._server.write(lease))

    def _ask(self, question: Callable[[], Answer]) -> "asyncio.Future[Answer]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def arrive() -> None:
            try:
                back = _setting(answer, question())
            except Conflict as conflict:
                back = _failing(answer, conflict)
            if not self.mute:
                loop.call_later(self.seconds, back)

        if not self.cut:
            loop.call_later(self.seconds, arrive)
        return answer


class Process:
    """One operator: it can be stopped in the middle of whatever it does, killed, and started anew by its kubelet.

    Attributes:
        deposed: What it said when it ended because it had lost the Lease.
    """

    def __init__(self, server: Server, name: str, *, rate: float = 1.0) -> None:
        self.wire = Wire(server)
        self.name = name
        self.deposed: list[str] = []
        self._rate = rate
        self._going = asyncio.Event()
        self._going.set()
        self.life: asyncio.Task[None] | None = None
        self.start()

    def start(self) -> None:
        """Begin a new life of the same pod, if the one before has ended."""
        if self.life is not None and not self.life.done():
            return
        self.quit = asyncio.Event()
        self.leadership = Leadership(self.wire, self.name, loop_clock(), self._now)
        self.life = asyncio.create_task(_stoppable(self._live(self.leadership), self._going))

    def stop(self) -> None:
        """SIGSTOP."""
        self._going.clear()

    def go_on(self) -> None:
        """SIGCONT."""
        self._going.set()

    async def kill(self) -> None:
        """SIGKILL: what it had sent may still arrive."""
        self.leadership = Leadership(self.wire, self.name, loop_clock(), self._now)
        self._going.set()
        if self.life is not None:
            self.life.cancel()
            await asyncio.gather(self.life, return_exceptions=True)

    async def terminate(self) -> None:
        """SIGTERM: it lets go and ends."""
        self.quit.set()
        self._going.set()
        if self.life is not None:
            await asyncio.wait([self.life])

    def leads(self) -> bool:
        return self.leadership.is_leader()

    def _now(self) -> float:
        return asyncio.get_running_loop().time() * self._rate

    async def _live(self, leadership: Leadership) -> None:
        if not await leadership.acquire(self.quit):
            return
        keeping, leaving = asyncio.ensure_future(self._keep(leadership)), asyncio.ensure_future(self.quit.wait())
        try:
            await asyncio.wait([keeping, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (keeping, leaving):
                task.cancel()
            await asyncio.gather(keeping, leaving, return_exceptions=True)
        await leadership.release()

    async def _keep(self, leadership: Leadership) -> None:
        try:
            await _stoppable(leadership.renew_loop(), self._going)
        except LeadershipLost as deposed:
            self.deposed.append(str(deposed))


def _setting(answer: "asyncio.Future[Answer]", result: Answer) -> Callable[[], None]:
    return lambda: None if answer.done() else answer.set_result(result)


def _failing(answer: "asyncio.Future[Answer]", error: Exception) -> Callable[[], None]:
    return lambda: None if answer.done() else answer.set_exception(error)


@coroutine
def _stoppable(work: Coroutine[Any, Any, Answer], going: asyncio.Event) -> Generator[Any, Any, Answer]:
    """Take each step of `work` only while it is `going`; what happens meanwhile meets it all at once, as a process."""
    thrown: BaseException | None = None
    while True:
        try:
            waits_for = work.throw(thrown) if thrown is not None else work.send(None)
        except StopIteration as end:
            result: Answer = end.value
            return result
        thrown = None
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001  a cancellation, or the end of the test: for `work` to see
            thrown = error
        while not going.is_set():
            try:
                yield from going.wait().__await__()
            except asyncio.CancelledError as error:
                thrown = error
