"""Questions to the broker on a channel of Celery, without waiting."""

from collections import deque
from collections.abc import Callable
from typing import Any

from amqp import spec


class RoundTrips:
    """Sends synchronous methods on a channel. RabbitMQ processes a channel in order, and so do the answers come.

    Attributes:
        are_answered: Whether no answer is awaited.
    """

    def __init__(self, channel: Any) -> None:  # noqa: ANN401 - amqp has no types
        self._channel = channel
        self._awaited: deque[Callable[[], None]] = deque()

    @property
    def are_answered(self) -> bool:
        """Whether no answer is awaited."""
        return not self._awaited

    def begin(self, on_answer: Callable[[], None]) -> None:
        """Ask, and call back at the answer."""
        self._awaited.append(on_answer)
        self._expect()
        self._channel.send_method(spec.Channel.Flow, "b", (True,))

    def _expect(self) -> None:
        self._channel._pending[spec.Channel.FlowOk] = self._on_answer  # noqa: SLF001 - `flow` would wait

    def _on_answer(self, *_: object) -> None:
        on_answer = self._awaited.popleft()
        if self._awaited:
            self._expect()
        on_answer()
