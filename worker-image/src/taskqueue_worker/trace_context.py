"""The trace that a task belongs to, in the W3C headers `traceparent` and `tracestate`. It needs no tracing library."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from .bounds import TRACE_CHARACTERS

TRACE_HEADERS: Final = ("traceparent", "tracestate")

CURRENT_TRACE: Final[ContextVar[Mapping[str, str] | None]] = ContextVar("current_trace", default=None)
"""The headers of the span that is open for the running task; None without tracing."""


def trace_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by which what a task publishes belongs to its trace.

    Args:
        headers: Those of the message of the task, which publishers may have set to anything.
    """
    current = CURRENT_TRACE.get()
    if current is not None:
        return dict(current)
    found = {name: headers.get(name) for name in TRACE_HEADERS}
    return {name: value for name, value in found.items() if isinstance(value, str) and len(value) <= TRACE_CHARACTERS}
