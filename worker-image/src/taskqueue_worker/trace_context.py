"""The trace that a task belongs to, in the W3C headers `traceparent` and `tracestate`. It needs no tracing library."""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from .bounds import TRACE_CHARACTERS

TRACE_HEADERS: Final = ("traceparent", "tracestate")
_TRACE_PARENT: Final = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

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


def trace_id_of(headers: Mapping[str, Any]) -> str | None:
    """Return the trace to which the publisher of a message has added its task, if any."""
    parent = headers.get("traceparent")
    match = _TRACE_PARENT.fullmatch(parent) if isinstance(parent, str) else None
    return match[1] if match else None
