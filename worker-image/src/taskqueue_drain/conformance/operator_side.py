"""The operator's side of the protocol for one TaskQueue: it receives reports and sends commands."""

import json
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from taskqueue_drain.protocol import CONTENT_TYPE, DIRECT_REPLY_TO, EXCHANGE

from .queues import ANSWER_SECONDS
from .report_fields import REPORT_BYTES

EPOCH: Final = 1_795_000_000
LEASE_SECONDS: Final = 120
"""The longest lease that the protocol permits: it does not end during a scenario."""
REPORTS: Final = 1000
"""Reports that are kept; a worker sends fewer than a hundred in one scenario."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report that has arrived.

    Attributes:
        fields: Its fields.
        reply_to: Where commands for the worker go.
        at: When it arrived, in seconds of the monotonic clock.
        fault: What is wrong with its properties; empty if nothing is.
    """

    fields: dict[str, Any]
    reply_to: str
    at: float
    fault: str

    @property
    def state(self) -> str:
        """The state of the worker; empty if the report has none."""
        state = self.fields.get("state")
        return state if isinstance(state, str) else ""

    @property
    def answer(self) -> dict[str, Any]:
        """The answer; empty if it answers no command."""
        answer = self.fields.get("answer")
        return answer if isinstance(answer, dict) else {}


class OperatorSide:
    """Receives the reports of one TaskQueue, and sends commands to the worker that reported last.

    Attributes:
        taskqueue: Name of the TaskQueue.
        reports: The last reports.
        unreadable: What arrived and was no report, if anything did.
    """

    def __init__(self, channel: AbstractChannel, taskqueue: str) -> None:
        self._channel = channel
        self.taskqueue = taskqueue
        self.reports: deque[Report] = deque(maxlen=REPORTS)
        self.unreadable = ""

    async def listen(self) -> None:
        """Receive the reports from now on."""
        queue = await self._channel.declare_queue(exclusive=True, timeout=ANSWER_SECONDS)
        await queue.bind(EXCHANGE, self.taskqueue, timeout=ANSWER_SECONDS)
        await queue.consume(self._receive, no_ack=True, timeout=ANSWER_SECONDS)

    @property
    def last(self) -> Report:
        """The last report."""
        return self.reports[-1]

    def answers(self, id_: str) -> list[Report]:
        """Return the reports that answer the commands with this id."""
        return [report for report in self.reports if report.answer.get("id") == id_]

    async def send(self, verb: str, **changes: object) -> str:
        """Send a command that is valid except for the changes (None removes a field); return its id."""
        valid = {
            "version": 1,
            "id": uuid4().hex,
            "command": verb,
            "incarnation": self.last.fields.get("incarnation"),
            "installation": "conformance",
            "epoch": EPOCH,
            "seq": 1,
            "lease_seconds": LEASE_SECONDS,
        }
        command = {name: value for name, value in (valid | changes).items() if value is not None}
        await self.send_raw(json.dumps(command).encode())
        return str(command["id"])

    async def send_raw(self, body: bytes) -> None:
        """Send any message to the worker."""
        message = Message(body, content_type=CONTENT_TYPE, delivery_mode=DeliveryMode.NOT_PERSISTENT)
        await self._channel.default_exchange.publish(message, self.last.reply_to, mandatory=False)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        at = time.monotonic()
        try:
            fields = json.loads(message.body) if len(message.body) <= REPORT_BYTES else None
        except (ValueError, RecursionError):
            fields = None
        if isinstance(fields, dict):
            self.reports.append(Report(fields, message.reply_to or "", at, _fault(message)))
        else:
            self.unreadable = f"no JSON object of at most {REPORT_BYTES} bytes: {message.body[:60]!r}"


def _fault(message: AbstractIncomingMessage) -> str:
    if message.exchange != EXCHANGE:
        return f"published to exchange {message.exchange!r} instead of {EXCHANGE}"
    if not (message.reply_to or "").startswith(f"{DIRECT_REPLY_TO}."):
        return f"reply_to is {message.reply_to!r} instead of {DIRECT_REPLY_TO}"
    if message.content_type != CONTENT_TYPE:
        return f"content_type is {message.content_type!r} instead of {CONTENT_TYPE}"
    if message.delivery_mode == DeliveryMode.PERSISTENT:
        return "reports are persistent"
    return ""
