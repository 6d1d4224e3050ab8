"""The message that makes the worker run a task of so many seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from aio_pika import DeliveryMode, Message

BODY: Final = '{"seconds": {seconds}}'
PROPERTIES: Final = ("app_id", "content_encoding", "content_type", "correlation_id", "type")
"""The properties that a template may set."""


@dataclass(frozen=True, slots=True)
class TaskTemplate:
    """What is the same in all messages; `{seconds}`, `{id}` and `{queue}` in its texts are replaced."""

    body: str = BODY
    headers: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)

    def message(self, queue: str, seconds: float) -> Message:
        """Make the message of one task for this queue."""
        values = {"{seconds}": f"{seconds:g}", "{id}": str(uuid4()), "{queue}": queue}
        properties: dict[str, Any] = {name: _filled(text, values) for name, text in self.properties.items()}
        return Message(
            _filled(self.body, values).encode(),
            headers={name: _filled(text, values) for name, text in self.headers.items()},
            message_id=values["{id}"],
            delivery_mode=DeliveryMode.PERSISTENT,
            **({"content_type": "application/json"} | properties),
        )


def _filled(text: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text
