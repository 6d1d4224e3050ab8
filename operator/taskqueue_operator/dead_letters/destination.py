"""Where a dead letter returns to, and what its copy says.

The queue is one that the user names, and not simply the one that the headers name: who may publish to a queue can write
any header, and would otherwise choose a queue that only the user of the command may write to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from taskqueue_operator.resource.names import interim_queue

from .letter import (
    ATTEMPT,
    CLASS,
    DEATH,
    EXCHANGE,
    FIRST_FAILURE,
    LAST_FAILURE,
    QUEUE,
    REASON,
    ROUTING_KEY,
    TEXT,
    DeadLetter,
    Headers,
)

DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"
"""As `reply_to`, the channel of the publisher. The broker refuses it from a channel that receives no replies."""
_DROPPED: Final = frozenset(
    {
        REASON,
        CLASS,
        TEXT,
        ATTEMPT,
        FIRST_FAILURE,
        LAST_FAILURE,
        QUEUE,
        DEATH,
        "x-suspect",
        "x-dropped-headers",
        "x-expires-at",
        "x-delivery-count",
        "x-acquired-count",
        # The broker would route the copy to further queues.
        "cc",
        "bcc",
    }
)
_DROPPED_PREFIXES: Final = ("x-first-death-", "x-last-death-")


class Kept(StrEnum):
    """Why a dead letter stays in its queue."""

    INCOMPLETE = "incomplete"
    UNKNOWN_QUEUE = "unknown-queue"
    OTHER_QUEUE = "other-queue"
    NOT_WRITABLE = "not-writable"
    UNROUTABLE = "unroutable"
    REFUSED = "refused"


EXPLANATIONS: Final[Mapping[Kept, str]] = {
    Kept.INCOMPLETE: "its properties cannot be read, or its body is longer than 16 MiB, so that a copy would lose data",
    Kept.UNKNOWN_QUEUE: "it does not say which queue it comes from. Name one queue with --to",
    Kept.OTHER_QUEUE: "it comes from another queue. Name that queue with --to",
    Kept.NOT_WRITABLE: "its headers cannot be written",
    Kept.UNROUTABLE: "its queue does not exist",
    Kept.REFUSED: "its queue refuses messages, for example because it is full",
}
"""What a message says, after "stays:"."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """The queues to which dead letters may return.

    Attributes:
        queues: A dead letter returns to the one that it comes from.
        unknown: Queue for dead letters that do not say where they come from; None if they stay.
    """

    queues: frozenset[str]
    unknown: str | None = None

    def of(self, letter: DeadLetter) -> str | Kept:
        """Return the queue to which a dead letter returns, or why it stays."""
        if not letter.is_whole:
            return Kept.INCOMPLETE
        if not letter.queue:
            return Kept.UNKNOWN_QUEUE if self.unknown is None else self.unknown
        # A task that failed in the interim queue of a migration: that queue is, or will be, gone.
        origin = next((queue for queue in self.queues if letter.queue == interim_queue(queue)), letter.queue)
        return origin if origin in self.queues else Kept.OTHER_QUEUE


def returning_headers(headers: Headers, letter: DeadLetter) -> dict[str, object]:
    """Return the headers of the copy that returns: the same without what failed, and with where the task came from.

    A worker without a task type in the message reads the original routing key. The copy itself is published to the
    default exchange, with the name of the queue as its routing key.
    """
    kept = {
        name: value
        for name, value in headers.items()
        if name.lower() not in _DROPPED and not name.lower().startswith(_DROPPED_PREFIXES)
    }
    origin = {EXCHANGE: letter.exchange, ROUTING_KEY: letter.routing_key}
    return {**kept, **{name: value for name, value in origin.items() if value is not None}}
