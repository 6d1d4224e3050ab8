"""Carries out the commands of the operator, and ends a drain when its lease expires."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from .bounds import ANSWERS
from .consume_gate import ConsumeGate
from .drain_lease import LEAVING, DrainLease
from .metrics import Metrics
from .protocol import Answer, Command, Drain, Result, Verb, parse_command
from .worker import Worker

CANCEL_TIMEOUT_SECONDS: Final = 4
"""How long the broker may take to cancel the consumers for certain. The operator waits 5 s for the answer."""

NOT_CERTAIN: Final = "the broker did not confirm that the consumers are cancelled"
UNDRAINED: Final = "undrained before the consumers were cancelled"
LEASE_EXPIRED: Final = "the drain lease expired before the consumers were cancelled"

_log = structlog.get_logger("commands")


class CommandHandler:
    """Accepts or refuses each command when it is read, and answers it when it is carried out.

    Attributes:
        answers: Answers that wait for a report, in order; of too many, the last ones. The control channel removes them.
        state_changed: Set when there is an answer, or the worker's state may have changed.
    """

    def __init__(
        self,
        incarnation: str,
        gate: ConsumeGate,
        worker: Worker,
        wait_until_quiet: Callable[[], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        """`wait_until_quiet` returns once every consumer is cancelled for certain."""
        self._incarnation = incarnation
        self._gate = gate
        self._worker = worker
        self._wait_until_quiet = wait_until_quiet
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._lease = DrainLease()
        self._expiry: asyncio.TimerHandle | None = None
        self._confirmation: asyncio.Task[None] | None = None
        self._unconfirmed: list[Command] = []
        self.state_changed = gate.state_changed
        self.answers: deque[Answer] = deque(maxlen=ANSWERS)

    @property
    def drained_by(self) -> Drain | None:
        """The drain in force."""
        return self._lease.holder(self._loop.time())

    def on_message(self, body: bytes) -> None:
        """A message arrived: carry out its command, refuse it, or ignore it."""
        message = parse_command(body, self._incarnation)
        if message is None:
            self._metrics.count_command("unknown", "ignored")
        elif isinstance(message, Answer):
            self._answer("unknown", message)
        elif reason := self._lease.apply(message, self._loop.time()):
            self._refuse(message, reason)
        else:
            self._carry_out(message)

    def begin_shutdown(self) -> None:
        """Stop consuming for good, and refuse the drains that wait for their confirmation."""
        self._lease.begin_shutdown()
        self._worker.stop_starting()
        self._gate.begin_shutdown()
        self._abandon_confirmation(LEAVING)

    def _carry_out(self, command: Command) -> None:
        match command.verb:
            case Verb.DRAIN:
                self._drain(command)
            case Verb.UNDRAIN:
                self._resume("undrained", UNDRAINED)
                self._answer(command.verb, Answer(command.id))
            case Verb.REPORT:
                self._answer(command.verb, Answer(command.id))

    def _drain(self, command: Command) -> None:
        if self._gate.opened.is_set():
            drain = command.drain
            _log.info("draining", installation=drain.installation, epoch=drain.epoch, seq=drain.seq)
            self._worker.stop_starting()
            self._gate.close()
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._loop.call_at(self._lease.expires_at, self._resume, "drain lease expired", LEASE_EXPIRED)
        self._unconfirmed.append(command)
        if self._confirmation is None:
            self._confirmation = asyncio.ensure_future(self._confirm())

    async def _confirm(self) -> None:
        """Answer the drains once the consumers are cancelled for certain; on timeout, refuse them and resume."""
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT_SECONDS):
                await self._wait_until_quiet()
        except TimeoutError:
            self._resume("drain not confirmed", NOT_CERTAIN)
            return
        self._confirmation = None
        for command in self._unconfirmed:
            self._answer(command.verb, Answer(command.id))
        self._unconfirmed.clear()

    def _resume(self, event: str, reason: str) -> None:
        """End the drain and consume again, if the worker is drained and not leaving."""
        self._lease.end()
        self._abandon_confirmation(reason)
        if self._gate.closed.is_set() and not self._gate.leaving.is_set():
            _log.info(event)
            self._gate.reopen()
            self._worker.resume_starting()

    def _abandon_confirmation(self, reason: str) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        if self._confirmation is not None:
            self._confirmation.cancel()
            self._confirmation = None
        for command in self._unconfirmed:
            self._refuse(command, reason)
        self._unconfirmed.clear()

    def _refuse(self, command: Command, reason: str) -> None:
        self._answer(command.verb, Answer(command.id, Result.REFUSED, reason))

    def _answer(self, command: str, answer: Answer) -> None:
        self._metrics.count_command(command, answer.result)
        if answer.result is Result.REFUSED:
            _log.warning("command refused", command=command, reason=answer.reason)
        self.answers.append(answer)
        self.state_changed.set()
