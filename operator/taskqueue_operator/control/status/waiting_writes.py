"""In which order statuses and Events are written: each namespace has an equal share, whatever the others write."""

from collections.abc import Hashable
from enum import IntEnum
from typing import Final

from taskqueue_operator.resource.names import Key

FIGURES_TURN: Final = 4
"""While conditions and figures wait, each fourth write is one of figures: conditions that flap do not keep them out."""


class Urgency(IntEnum):
    """What a TaskQueue is about to write; the lowest comes first within a namespace.

    A change soon after a write is less urgent, or one TaskQueue whose conditions flap would keep out the others of its
    namespace. It is as urgent as an Event, which always follows a write.
    """

    READINESS = 0
    CONDITIONS = 1
    AGAIN = 2
    FIGURES = 3


class Line:
    """Keys that wait. One of each namespace is taken in turn: the most urgent one, then the one that waits longest."""

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[Key, Urgency]] = {}

    def __len__(self) -> int:
        """Count the namespaces with a key that waits."""
        return len(self._namespaces)

    def __contains__(self, key: Hashable) -> bool:
        """Whether a key waits."""
        return isinstance(key, Key) and key in self._namespaces.get(key.namespace, ())

    def add(self, key: Key, urgency: Urgency) -> None:
        """Let a key wait; it keeps its place if it waits already."""
        self._namespaces.setdefault(key.namespace, {})[key] = urgency

    def discard(self, key: Key) -> None:
        """Remove a key, if it waits."""
        waiting = self._namespaces.get(key.namespace, {})
        waiting.pop(key, None)
        if not waiting:
            self._namespaces.pop(key.namespace, None)

    def pop(self) -> Key:
        """Remove and return the next key.

        Raises:
            StopIteration: No key waits.
        """
        namespace = next(iter(self._namespaces))
        waiting = self._namespaces.pop(namespace)
        key = min(waiting, key=waiting.__getitem__)
        del waiting[key]
        if waiting:
            self._namespaces[namespace] = waiting  # the last in turn
        return key


class WaitingWrites:
    """The keys that wait to write: conditions and Events in one line, figures in another one."""

    def __init__(self) -> None:
        self._urgent, self._figures = Line(), Line()
        self._turns = 0

    def __bool__(self) -> bool:
        """Whether a key waits."""
        return bool(self._urgent or self._figures)

    def __contains__(self, key: Hashable) -> bool:
        """Whether a key waits."""
        return key in self._urgent or key in self._figures

    def add(self, key: Key, urgency: Urgency) -> None:
        """Let a key wait, or change its urgency."""
        line, other = (self._urgent, self._figures)[:: -1 if urgency is Urgency.FIGURES else 1]
        other.discard(key)
        line.add(key, urgency)

    def discard(self, key: Key) -> None:
        """Remove a key that has nothing to write any more."""
        self._urgent.discard(key)
        self._figures.discard(key)

    def pop(self) -> Key | None:
        """Remove and return the next key; None if no key waits."""
        if not self:
            return None
        self._turns += 1
        are_figures = self._figures and (not self._urgent or self._turns % FIGURES_TURN == 0)
        return (self._figures if are_figures else self._urgent).pop()
