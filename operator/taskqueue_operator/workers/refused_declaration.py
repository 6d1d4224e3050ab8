"""A container that ends because RabbitMQ refuses its declaration of a queue, by the last lines of its log.

Those lines are of user code and may hold a secret. So only what has the form of RabbitMQ's answer is taken from them:
the name of an argument, and the name of a queue, which the caller compares with those that it knows.
"""

import re
from typing import Any, Final, NamedTuple, Self

from taskqueue_operator.resource.bounds import TERMINATION_MESSAGE_CHARACTERS

_ANSWER: Final = re.compile(
    r"PRECONDITION_FAILED - inequivalent arg \\?'(durable|auto_delete|exclusive|x-[a-z-]{1,40})\\?' "
    r"for queue \\?'([^'\\\n]{1,255})\\?'"
)
"""The quotes have a backslash in a text that was quoted again."""
_SETTING: Final = re.compile("x-(dead-letter-.*|overflow|delivery-limit)")
"""Arguments that a policy can replace."""


class RefusedDeclaration(NamedTuple):
    """What RabbitMQ refused: the argument of the declaration differs from that of the queue."""

    argument: str
    queue: str

    @classmethod
    def parse(cls, terminated: dict[str, Any]) -> Self | None:
        """Parse the last end of a container; None if its message holds no such answer."""
        found = _ANSWER.search(str(terminated.get("message", ""))[-TERMINATION_MESSAGE_CHARACTERS:])
        return cls(found[1], found[2]) if found is not None else None

    @property
    def explanation(self) -> str:
        """What happened, and the way out."""
        return (
            f'RabbitMQ refused the declaration of queue "{self.queue}" by the worker (PRECONDITION_FAILED): argument '
            f"{self.argument} differs from that of the queue. {self._first_way_out} it with passive=True (Celery: "
            "no_declare=True) or not at all, or keep the queue of your application, with queue.external: true "
            "(docs/topology.md)."
        )

    @property
    def _first_way_out(self) -> str:
        if _SETTING.fullmatch(self.argument):
            return "Set queue.settingsBy: Policy (not with shards), with which the queue has no such argument, declare"
        if self.argument == "x-queue-type":
            return "Set the default queue type of the vhost to that of the queue, declare"
        return "Declare"
