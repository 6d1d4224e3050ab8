"""Carries out what the operator commands, and takes it back when its lease ends."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from .consume_gate import ConsumeGate
from .drain_lease import LEAVING, DrainLease
from .metrics import Metrics
from .protocol import Answer, Command, Drain, Name, Result, read
from .worker import Worker

PROOF_SECONDS: Final = 4
"""How long the broker may take to end the consumers: the operator waits 5 s for the answer."""

UNCERTAIN: Final = "the broker does not end the consumers"
UNDRAINED: Final = "undrained meanwhile"
LEASE_ENDED: Final = "the lease ended meanwhile"

log = structlog.get_logger(__name__)


class CommandHandler:
    """Each command is decided on when it is read, and answered when it is carried out."""

    def __init__(
        self,
        incarnation: str,
        intake: ConsumeGate,
        worker: Worker,
        quiet: Callable[[], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        """`quiet` returns once it is certain that no message comes any more."""
        self._incarnation = incarnation
        self._intake = intake
        self._worker = worker
        self._quiet = quiet
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._lease = DrainLease()
        self._end: asyncio.TimerHandle | None = None
        self._confirming: asyncio.Task[None] | None = None
        self._unconfirmed: list[Command] = []
        self.news = intake.news
        """Set when there is an answer, or the worker's state may have changed."""
        self.answers: deque[Answer] = deque()
        """In order; for who reports to take away."""

    @property
    def drained_by(self) -> Drain | None:
        """The command in force."""
        return self._lease.holder(self._loop.time())

    def take(self, body: bytes) -> None:
        """A message arrived: obey it, refuse it or ignore it."""
        message = read(body, self._incarnation)
        if message is None:
            self._metrics.command("unknown", "ignored")
        elif isinstance(message, Answer):
            self._answer("unknown", message)
        elif reason := self._lease.obey(message, self._loop.time()):
            self._refuse(message, reason)
        else:
            self._obey(message)

    def leave(self) -> None:
        """The worker is asked to end: it is shut for good."""
        self._lease.leave()
        self._worker.stop_starting()
        self._intake.leave()
        self._stop_waiting(LEAVING)

    def _obey(self, command: Command) -> None:
        match command.name:
            case Name.DRAIN:
                self._drain(command)
            case Name.UNDRAIN:
                self._resume("undrained", UNDRAINED)
                self._answer(command.name, Answer(command.id))
            case Name.REPORT:
                self._answer(command.name, Answer(command.id))

    def _drain(self, command: Command) -> None:
        if self._intake.open.is_set():
            drain = command.drain
            log.info("drained", installation=drain.installation, epoch=drain.epoch, seq=drain.seq)
            self._worker.stop_starting()
            self._intake.close()
        if self._end is not None:
            self._end.cancel()
        self._end = self._loop.call_at(self._lease.ends, self._resume, "lease ended", LEASE_ENDED)
        self._unconfirmed.append(command)
        if self._confirming is None:
            self._confirming = asyncio.ensure_future(self._confirm())

    async def _confirm(self) -> None:
        """Answer the drains when nothing comes any more. If the broker leaves that open, refuse, and work on."""
        try:
            async with asyncio.timeout(PROOF_SECONDS):
                await self._quiet()
        except TimeoutError:
            self._resume("not drained", UNCERTAIN)
            return
        self._confirming = None
        for command in self._unconfirmed:
            self._answer(command.name, Answer(command.id))
        self._unconfirmed.clear()

    def _resume(self, event: str, reason: str) -> None:
        """Take messages again, if a drain kept from it."""
        self._lease.end()
        self._stop_waiting(reason)
        if self._intake.shut.is_set() and not self._intake.leaving.is_set():
            log.info(event)
            self._intake.reopen()
            self._worker.start_again()

    def _stop_waiting(self, reason: str) -> None:
        if self._end is not None:
            self._end.cancel()
        if self._confirming is not None:
            self._confirming.cancel()
            self._confirming = None
        for command in self._unconfirmed:
            self._refuse(command, reason)
        self._unconfirmed.clear()

    def _refuse(self, command: Command, reason: str) -> None:
        self._answer(command.name, Answer(command.id, Result.REFUSED, reason))

    def _answer(self, command: str, answer: Answer) -> None:
        self._metrics.command(command, answer.result)
        if answer.result is Result.REFUSED:
            log.warning("command refused", command=command, reason=answer.reason)
        self.answers.append(answer)
        self.news.set()
