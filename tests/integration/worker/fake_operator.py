"""A fake operator that implements its side of docs/control-protocol.md, and of that document alone.

The real operator's reader must parse every report that arrives, and its writer must write every valid command exactly
as the document says. So each test here of a worker holds for the worker and the real operator together.
"""

import json
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from taskqueue_operator.drain.protocol import Command, Report, Verb
from tests.integration.worker.eventually import eventually

EXCHANGE = "taskqueue.reports"
EPOCH = 1_795_000_000


class FakeOperator:
    """Receives the reports of one TaskQueue, and sends commands to the worker that reported last.

    Attributes:
        taskqueue: Name of the TaskQueue.
        address: The `reply_to` of the last report.
    """

    def __init__(self, channel: AbstractChannel, taskqueue: str, installation: str = "default") -> None:
        self._bodies: list[bytes] = []
        self.address = ""
        self._channel = channel
        self.taskqueue = taskqueue
        self._installation = installation

    async def listen(self) -> "FakeOperator":
        exchange = await self._channel.declare_exchange(EXCHANGE, "direct", durable=True)
        queue = await self._channel.declare_queue(exclusive=True)
        await queue.bind(exchange, self.taskqueue)
        await queue.consume(self._receive, no_ack=True)
        return self

    @property
    def reports(self) -> list[dict[str, Any]]:
        """All received reports. Parsed here and not when they arrive: an error in a callback would fail no test."""
        return [_parse(body) for body in self._bodies]

    @property
    def last(self) -> dict[str, Any]:
        return self.reports[-1]

    async def wait_for_report(self, **fields: object) -> dict[str, Any]:
        """Wait until the last report has these fields, and return the report."""
        await eventually(f"a report with {fields}", lambda: self.reports and fields.items() <= self.last.items())
        return self.last

    async def send(self, command: str, /, **changes: object) -> str:
        """Send a command that is valid except for the changes (None removes a field); return its id."""
        valid = {
            "version": 1,
            "id": uuid4().hex,
            "command": command,
            "incarnation": self.last["incarnation"],
            "installation": self._installation,
            "epoch": EPOCH,
            "seq": 1,
            "lease_seconds": 60,
        }
        written = Command(valid["id"], Verb(command), self.last["incarnation"], self._installation, EPOCH, seq=1)
        assert json.loads(written.write()) == valid
        message = valid | changes
        await self.send_raw(json.dumps({name: value for name, value in message.items() if value is not None}).encode())
        return str(message["id"])

    async def send_raw(self, body: bytes) -> None:
        """Send any message to the worker's address."""
        message = aio_pika.Message(body, content_type="application/json")
        await self._channel.default_exchange.publish(message, self.address, mandatory=False)

    async def wait_for_answer(self, id: str, *, after: int = 0) -> dict[str, Any]:  # noqa: A002 - named as the field
        """Wait for the report that answers the command with this id, and return the report.

        Args:
            id: The id.
            after: How many reports came before the command: the same id may have been answered by one of them.
        """

        def answers() -> list[dict[str, Any]]:
            reports = self.reports[after:]
            return [report for report in reports if report["answer"] and report["answer"]["id"] == id]

        await eventually(f"an answer to {id}", answers)
        return answers()[-1]

    async def command(self, command: str, /, **changes: object) -> dict[str, Any]:
        """Send a command and return the report that answers it."""
        received = len(self._bodies)
        return await self.wait_for_answer(await self.send(command, **changes), after=received)

    async def refused(self, command: str, /, **changes: object) -> str:
        """Send a command that must be refused; return the reason."""
        answer = (await self.command(command, **changes))["answer"]
        assert answer["result"] == "refused"
        return str(answer["reason"])

    async def done(self, command: str, /, **changes: object) -> dict[str, Any]:
        """Send a command that must be done; return the report that answers it."""
        report = await self.command(command, **changes)
        assert report["answer"] == {"id": report["answer"]["id"], "result": "done", "reason": None}
        return report

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        assert message.reply_to is not None
        self.address = message.reply_to
        self._bodies.append(message.body)


def _parse(body: bytes) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(body)
    assert json.loads(json.dumps(asdict(Report.parse(body)))) == report
    return report
