"""What worker and child send each other, as bytes. Pure.

Both sides run the code of the same application, so neither has to distrust what the other pickles. But a result is of
any size, and an exception may be one that cannot be pickled, or only in one direction.
"""

import pickle
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from taskqueue_worker.bounds import RESULT_BYTES, STACK_CHARACTERS
from taskqueue_worker.failure import Failure

Message = TypeVar("Message")
CONTEXT_VALUES: Final = frozenset(
    {"task_id", "type", "routing_key", "headers", "redelivered", "deadline", "attempt"},
)
"""The fields of a context that a child gets. It makes `draining` and `log` itself; the others are None there."""


class ChildStackError(Exception):
    """Stands as the cause of an exception that a child has raised, and shows where."""


class ChildFailureError(Exception):
    """A handler raised, in a child, an exception that cannot be sent. The text names its class."""


class ResultTooLargeError(Exception):
    """A handler returned more than a child may send."""


@dataclass(frozen=True, slots=True)
class Request:
    """A task for a child."""

    type: str
    version: int
    payload: object
    context: Mapping[str, Any] | None
    """The values of the context; None if the handler takes none."""
    wants_result: bool
    log_fields: dict[str, object] = field(default_factory=dict)
    """What each log line of the task says of it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How the task ended."""

    result: object = None
    error: BaseException | None = None
    stack: str = ""
    memory_bytes: int = 0
    """What the child holds after the task, beyond what the fork server held."""

    def value(self) -> object:
        """Return the result, or raise the error of the handler as it was raised in the child."""
        if self.error is not None:
            raise self.error from ChildStackError(f"\n\n{self.stack}")
        return self.result


def encode_request(request: Request) -> bytes:
    """Encode a request. What it holds has passed the bounds of a message already."""
    return pickle.dumps(request, pickle.HIGHEST_PROTOCOL)


def decode_request(encoded: bytes) -> Request:
    """Decode a request."""
    return _decode(encoded, Request)


def encode_reply(result: object, memory_bytes: int) -> bytes:
    """Encode the result of a handler; of one that cannot be sent, the error."""
    try:
        encoded = pickle.dumps(Reply(result, memory_bytes=memory_bytes), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # noqa: BLE001 - pickling runs user code
        return encode_error(error, memory_bytes)
    if len(encoded) <= RESULT_BYTES:
        return encoded
    too_large = ResultTooLargeError(
        f"The handler returned {len(encoded)} bytes, and a child may send {RESULT_BYTES}. Store the data elsewhere, "
        "and return its address."
    )
    return encode_error(too_large, memory_bytes)


def encode_error(error: BaseException, memory_bytes: int) -> bytes:
    """Encode what a handler raised; if it cannot be sent, its class and its text."""
    failure = Failure.of(error)
    try:
        encoded = pickle.dumps(Reply(None, error, failure.stack, memory_bytes), pickle.HIGHEST_PROTOCOL)
        pickle.loads(encoded)  # noqa: S301 - made here; many exceptions can be pickled, and not read again
        if len(encoded) <= RESULT_BYTES:
            return encoded
    except BaseException:  # noqa: BLE001, S110 - pickling runs user code; the text is sent instead
        pass
    described = ChildFailureError(f"{failure.type}: {failure.text}")
    return pickle.dumps(Reply(None, described, failure.stack, memory_bytes), pickle.HIGHEST_PROTOCOL)


def decode_reply(encoded: bytes) -> Reply:
    """Decode a reply; of one that cannot be decoded here, the error."""
    try:
        return _decode(encoded, Reply)
    except BaseException as error:  # noqa: BLE001 - unpickling runs user code
        stack = "".join(traceback.format_exception(error))[-STACK_CHARACTERS:]
        return Reply(error=ChildFailureError(f"The reply of the child cannot be read: {error!r}"), stack=stack)


def _decode(encoded: bytes, kind: type[Message]) -> Message:
    message = pickle.loads(encoded)  # noqa: S301 - of a process of the same application
    if not isinstance(message, kind):
        raise TypeError(f"{type(message).__name__} is no {kind.__name__}")
    return message
