"""The headers of a copy of a message: of its next attempt, or of its dead letter (docs/worker-contract.md). Pure.

Publishers may have set any header to anything.
"""

from collections.abc import Mapping
from typing import Any, Final

from .bounds import ATTEMPT_NUMBER, NAME_BYTES

ATTEMPT: Final = "x-attempt"
SUSPECT: Final = "x-suspect"
BROKER_FAILURES: Final = "x-delivery-count"
REASON: Final = "x-failure-reason"
ERROR_CLASS: Final = "x-failure-class"
ERROR_TEXT: Final = "x-failure-text"
FIRST_FAILURE: Final = "x-first-failure-at"
LAST_FAILURE: Final = "x-last-failure-at"
EXCHANGE: Final = "x-original-exchange"
ROUTING_KEY: Final = "x-original-routing-key"
QUEUE: Final = "x-original-queue"

_NOT_COPIED: Final = frozenset({"cc", "bcc", "x-death", BROKER_FAILURES, "x-acquired-count", SUSPECT})
"""CC and BCC would route the copy to further queues. The others describe the life of the original in the broker."""
_NOT_COPIED_PREFIXES: Final = ("x-first-death-", "x-last-death-")


def copied(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers that a copy of a message keeps."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _NOT_COPIED and not name.startswith(_NOT_COPIED_PREFIXES)
    }


def origin(headers: Mapping[str, Any], exchange: str, routing_key: str) -> dict[str, str]:
    """Return the headers that say how the first message was published, from those of a message that came this way."""
    return {EXCHANGE: recorded(headers, EXCHANGE, exchange), ROUTING_KEY: recorded(headers, ROUTING_KEY, routing_key)}


def first_failure(headers: Mapping[str, Any], at: str) -> dict[str, str]:
    """Return the header that says when the task failed first; `at` is now."""
    return {FIRST_FAILURE: recorded(headers, FIRST_FAILURE, at)}


def recorded(headers: Mapping[str, Any], name: str, otherwise: str) -> str:
    """Return what an earlier copy has recorded in a header. No copy records a longer text: a publisher wrote that."""
    text = headers.get(name)
    return text if isinstance(text, str) and len(text.encode(errors="replace")) <= NAME_BYTES else otherwise


def attempt(headers: Mapping[str, Any]) -> int:
    """Return the number of an attempt that a message states, from 1."""
    return _count(headers.get(ATTEMPT), least=1)


def broker_failures(headers: Mapping[str, Any]) -> int:
    """Return how many failed deliveries the broker states."""
    return _count(headers.get(BROKER_FAILURES), least=0)


def _count(value: object, *, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return least
    return min(max(value, least), ATTEMPT_NUMBER)
