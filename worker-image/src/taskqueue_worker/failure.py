"""What is told of an exception of user code: texts, which are made in the thread of the handler."""

import traceback
from dataclasses import dataclass
from typing import Self

from .bounds import STACK_CHARACTERS, TEXT_CHARACTERS
from .outcomes import Requeue, Retry

ErrorType = type[BaseException]


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as text. The exception itself, its frames and their variables stay with the handler.

    `__str__` of an exception is user code, and may block or fail like a handler.
    """

    type: str
    """The name of its class, with the module unless it is a builtin."""
    text: str
    stack: str
    """The stack trace; of a long one, the end."""
    error_type: ErrorType = Exception
    delay_seconds: float | None = None
    """The delay that `Retry` or `Requeue` asks for."""

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Describe an exception."""
        module, name = type(error).__module__, type(error).__qualname__
        qualified = name if module == "builtins" else f"{module}.{name}"
        try:
            text, stack = str(error), "".join(traceback.format_exception(error))
        except BaseException:  # noqa: BLE001 - user code
            text = stack = f"{qualified}: its text cannot be made"
        delay = error.delay if isinstance(error, Retry | Requeue) else None
        return cls(qualified[:TEXT_CHARACTERS], text[:TEXT_CHARACTERS], stack[-STACK_CHARACTERS:], type(error), delay)
