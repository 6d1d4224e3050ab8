"""Which dead letters a command is about."""

from dataclasses import dataclass

from .letter import DeadLetter


@dataclass(frozen=True, slots=True)
class Selection:
    """All that is set has to match; without anything, every dead letter does. Values are compared as they are shown.

    Attributes:
        id: The message_id. Other messages may have the same one.
        type: Task type; the empty text selects dead letters without one. Likewise for the other fields.
    """

    id: str | None = None
    type: str | None = None
    reason: str | None = None
    error_class: str | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether a dead letter is selected."""
        compared = (
            (self.id, letter.id),
            (self.type, letter.type),
            (self.reason, letter.reason),
            (self.error_class, letter.error_class),
        )
        return all(wanted is None or wanted == value for wanted, value in compared)

    @property
    def is_all(self) -> bool:
        """Whether every dead letter is selected."""
        return self == Selection()
