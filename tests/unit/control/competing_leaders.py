"""Processes that compete for one Lease in virtual time, with faults of processes and of their connections."""

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


class LeaseServer:
    """The API server with its one Lease."""

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
        """Return it with a new version, as after any write."""
        self._version += 1
        return replace(lease, version=str(self._version))


class LeaseConnection:
    """The connection of one process to the server. A request that was sent arrives, even if its caller has timed out.

    Attributes:
        cut: Neither requests nor responses arrive.
        responses_lost: Requests arrive, responses do not.
        seconds: Duration of a request, and of its response.
    """

    def __init__(self, server: LeaseServer) -> None:
        self.cut = self.responses_lost = False
        self.seconds = 0.01
        self._server = server

    def cut_off(self) -> None:
        self.cut = True

    def lose_responses(self) -> None:
        self.responses_lost = True

    def slow_down(self) -> None:
        self.seconds = 1.9

    def repair(self) -> None:
        self.cut = self.responses_lost = False
        self.seconds = 0.01

    async def read(self) -> Lease | None:
        return await self._request(self._server.read)

    async def write(self, lease: Lease) -> Lease:
        return await self._request(lambda: self._server.write(lease))

    def _request(self, operation: Callable[[], Answer]) -> "asyncio.Future[Answer]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def arrive() -> None:
            try:
                respond = _result_setter(answer, operation())
            except Conflict as conflict:
                respond = _error_setter(answer, conflict)
            if not self.responses_lost:
                loop.call_later(self.seconds, respond)

        if not self.cut:
            loop.call_later(self.seconds, arrive)
        return answer


class OperatorProcess:
    """One operator pod: its process can be stopped at any step, killed, and started again by the kubelet.

    Attributes:
        lost_reasons: The messages of the lost leaderships.
    """

    def __init__(self, server: LeaseServer, name: str, *, rate: float = 1.0) -> None:
        self.connection = LeaseConnection(server)
        self.name = name
        self.lost_reasons: list[str] = []
        self._rate = rate
        self._resumed = asyncio.Event()
        self._resumed.set()
        self.task: asyncio.Task[None] | None = None
        self.start()

    def start(self) -> None:
        """Start a new process in the same pod, if the former one has ended."""
        if self.task is not None and not self.task.done():
            return
        self.quit = asyncio.Event()
        self.leadership = Leadership(self.connection, self.name, loop_clock(), self._now)
        self.task = asyncio.create_task(_stoppable(self._run(self.leadership), self._resumed))

    def stop(self) -> None:
        """SIGSTOP."""
        self._resumed.clear()

    def resume(self) -> None:
        """SIGCONT."""
        self._resumed.set()

    async def kill(self) -> None:
        """SIGKILL: requests that were sent may still arrive."""
        self.leadership = Leadership(self.connection, self.name, loop_clock(), self._now)
        self._resumed.set()
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def terminate(self) -> None:
        """SIGTERM: it releases the Lease and ends."""
        self.quit.set()
        self._resumed.set()
        if self.task is not None:
            await asyncio.wait([self.task])

    def is_leader(self) -> bool:
        return self.leadership.is_leader()

    def _now(self) -> float:
        return asyncio.get_running_loop().time() * self._rate

    async def _run(self, leadership: Leadership) -> None:
        if not await leadership.acquire(self.quit):
            return
        renewing, quitting = asyncio.ensure_future(self._renew(leadership)), asyncio.ensure_future(self.quit.wait())
        try:
            await asyncio.wait([renewing, quitting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (renewing, quitting):
                task.cancel()
            await asyncio.gather(renewing, quitting, return_exceptions=True)
        await leadership.release()

    async def _renew(self, leadership: Leadership) -> None:
        try:
            await _stoppable(leadership.renew_loop(), self._resumed)
        except LeadershipLost as lost:
            self.lost_reasons.append(str(lost))


def _result_setter(answer: "asyncio.Future[Answer]", result: Answer) -> Callable[[], None]:
    return lambda: None if answer.done() else answer.set_result(result)


def _error_setter(answer: "asyncio.Future[Answer]", error: Exception) -> Callable[[], None]:
    return lambda: None if answer.done() else answer.set_exception(error)


@coroutine
def _stoppable(work: Coroutine[Any, Any, Answer], resumed: asyncio.Event) -> Generator[Any, Any, Answer]:
    """Run the steps of `work` only while `resumed` is set; cancellations that come meanwhile reach it then."""
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
        while not resumed.is_set():
            try:
                yield from resumed.wait().__await__()
            except asyncio.CancelledError as error:
                thrown = error
