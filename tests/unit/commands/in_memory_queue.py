"""Queues in memory, for tests of the operations on dead letters; a command can be killed before each of its steps."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from taskqueue_operator.dead_letters.destination import Kept
from taskqueue_operator.dead_letters.letter import DeadLetter, Headers, read


class Killed(Exception):
    """The process ends here."""


@dataclass(frozen=True)
class Message:
    """A message in a queue."""

    id: str
    headers: dict[str, object] = field(default_factory=dict)
    type: str = "work"
    body: bytes = b"{}"


@dataclass(frozen=True)
class FakeDelivery:
    tag: int
    message: Message

    @property
    def letter(self) -> DeadLetter:
        message = self.message
        return read(message.headers, message_id=message.id, message_type=message.type, body_bytes=len(message.body))

    @property
    def headers(self) -> Headers:
        return self.message.headers

    @property
    def content_type(self) -> str | None:
        return "application/json"

    @property
    def body(self) -> bytes:
        return self.message.body


def dead_letter(number: int, *, queue: str = "jobs", **fields: str) -> Message:
    headers: dict[str, object] = {"x-original-queue": queue, "x-failure-reason": fields.get("reason", "failed")}
    return Message(f"id-{number}", headers, fields.get("type", "work"))


class FakeBroker:
    """The dead-letter queue, in order, and what the other queues have received.

    Attributes:
        full: Queues that refuse messages.
        missing: Queues that do not exist.
    """

    def __init__(self, *letters: Message) -> None:
        self.dead_letters = list(letters)
        self.queues: defaultdict[str, list[Message]] = defaultdict(list)
        self.full: set[str] = set()
        self.missing: set[str] = set()

    def ids(self, queue: str) -> list[str]:
        return [message.id for message in self.queues[queue]]


class InMemoryQueue:
    """One connection to the dead-letter queue. `steps` is how many steps it makes before it is killed."""

    name = "jobs.dlq"

    def __init__(self, broker: FakeBroker, *, steps: int | None = None) -> None:
        self.broker = broker
        self.released = 0
        self._steps = steps
        self._unacked: dict[int, Message] = {}
        self._tag = 0

    @property
    def held(self) -> int:
        return len(self._unacked)

    async def ready(self) -> int:
        return len(self.broker.dead_letters)

    async def deliveries(self, count: int, *, held: int) -> AsyncIterator[FakeDelivery]:
        for _ in range(count):
            if self.held >= held or not self.broker.dead_letters:
                return
            self._step()
            self._tag += 1
            self._unacked[self._tag] = self.broker.dead_letters.pop(0)
            yield FakeDelivery(self._tag, self._unacked[self._tag])

    async def check_publishing(self) -> None:
        self._step()

    async def redrive(self, delivery: FakeDelivery, queue: str, headers: Headers) -> Kept | None:
        self._step()
        if queue in self.broker.missing:
            return Kept.UNROUTABLE
        if queue in self.broker.full:
            return Kept.REFUSED
        message = delivery.message
        self.broker.queues[queue].append(Message(message.id, dict(headers), message.type, message.body))
        await self.acknowledge(delivery.tag)
        return None

    async def acknowledge(self, tag: int) -> None:
        self._step()
        del self._unacked[tag]

    async def release(self) -> None:
        self.released += 1
        self.broker.dead_letters[:0] = self._unacked.values()
        self._unacked.clear()

    def _step(self) -> None:
        if self._steps is not None:
            if self._steps == 0:
                raise Killed
            self._steps -= 1
