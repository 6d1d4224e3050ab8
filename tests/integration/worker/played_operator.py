"""The operator's side of docs/control-protocol.md, played: what it says, and when, is of that document alone.

Our operator's own reader has to understand every report that comes, and its writer has to write every command that is
well formed just as the document has it: so what is shown here of a worker holds for it and our operator together.
"""

import json
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from taskqueue_operator.drain.protocol import Command, Report, Verb
from tests.integration.worker.running import eventually

EXCHANGE = "taskqueue.reports"
EPOCH = 1_795_000_000


class Operator:
    """Hears one TaskQueue's workers, and commands the one it heard last."""

    def __init__(self, channel: AbstractChannel, taskqueue: str, installation: str = "default") -> None:
        self._heard: list[bytes] = []
        self.address = ""
        self._channel = channel
        self.taskqueue = taskqueue
        self._installation = installation

    async def listen(self) -> "Operator":
        exchange = await self._channel.declare_exchange(EXCHANGE, "direct", durable=True)
        queue = await self._channel.declare_queue(exclusive=True)
        await queue.bind(exchange, self.taskqueue)
        await queue.consume(self._hear, no_ack=True)
        return self

    @property
    def reports(self) -> list[dict[str, Any]]:
        """All that were heard. Read here and not as they come: in a callback nobody would see it fail."""
        return [_read(body) for body in self._heard]

    @property
    def last(self) -> dict[str, Any]:
        return self.reports[-1]

    async def heard(self, **fields: object) -> dict[str, Any]:
        """Wait until the last report has these fields."""
        await eventually(f"a report with {fields}", lambda: self.reports and fields.items() <= self.last.items())
        return self.last

    async def send(self, command: str, /, **changes: object) -> str:
        """Send a command, well formed but for the changes (None leaves a field out); its id."""
        well_formed = {
            "version": 1,
            "id": uuid4().hex,
            "command": command,
            "incarnation": self.last["incarnation"],
            "installation": self._installation,
            "epoch": EPOCH,
            "seq": 1,
            "lease_seconds": 60,
        }
        ours = Command(well_formed["id"], Verb(command), self.last["incarnation"], self._installation, EPOCH, seq=1)
        assert json.loads(ours.write()) == well_formed
        message = well_formed | changes
        await self.put(json.dumps({name: value for name, value in message.items() if value is not None}).encode())
        return str(message["id"])

    async def put(self, body: bytes) -> None:
        """Send whatever it is to the worker's address."""
        message = aio_pika.Message(body, content_type="application/json")
        await self._channel.default_exchange.publish(message, self.address, mandatory=False)

    async def answer(self, id: str) -> dict[str, Any]:  # noqa: A002 - named as the field
        """The report that answers the command with that id."""

        def answers() -> list[dict[str, Any]]:
            return [report for report in self.reports if report["answer"] and report["answer"]["id"] == id]

        await eventually(f"an answer to {id}", answers)
        return answers()[-1]

    async def ask(self, command: str, /, **changes: object) -> dict[str, Any]:
        """Send a command; the report that answers it."""
        return await self.answer(await self.send(command, **changes))

    async def refused(self, command: str, /, **changes: object) -> str:
        """Send a command; the reason why it was refused."""
        answer = (await self.ask(command, **changes))["answer"]
        assert answer["result"] == "refused"
        return str(answer["reason"])

    async def done(self, command: str, /, **changes: object) -> dict[str, Any]:
        """Send a command; the report that says it is done."""
        report = await self.ask(command, **changes)
        assert report["answer"] == {"id": report["answer"]["id"], "result": "done", "reason": None}
        return report

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        assert message.reply_to is not None
        self.address = message.reply_to
        self._heard.append(message.body)


def _read(body: bytes) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(body)
    assert asdict(Report.parse(body)) == report
    return report
