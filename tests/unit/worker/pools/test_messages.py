"""What worker and child send each other."""

from typing import Any, NoReturn

import pytest
from typing_extensions import override

from taskqueue_worker.bounds import RESULT_BYTES
from taskqueue_worker.outcomes import Retry
from taskqueue_worker.pools.messages import (
    ChildFailureError,
    Request,
    ResultTooLargeError,
    decode_reply,
    decode_request,
    encode_error,
    encode_reply,
    encode_request,
)


class OneWayError(Exception):
    """Can be pickled, and not read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


class HostileError(Exception):
    @override
    def __reduce__(self) -> NoReturn:
        raise SystemExit(1)


class ReadOnce:
    """Can be read in one process, and not in the other."""

    is_readable = True

    @override
    def __reduce__(self) -> Any:
        return (_read, ())


def _read() -> ReadOnce:
    if not ReadOnce.is_readable:
        raise LookupError("no such class here")
    return ReadOnce()


def test_a_request_and_its_result_arrive_as_they_were_sent() -> None:
    request = Request("t", 1, {"n": 2**70}, {"task_id": "id"}, wants_result=True)
    assert decode_request(encode_request(request)) == request
    reply = decode_reply(encode_reply({"n": 1}, 5))
    assert (reply.value(), reply.memory_bytes) == ({"n": 1}, 5)


def test_an_exception_keeps_its_class_and_its_fields_and_shows_the_stack_of_the_child() -> None:
    reply = decode_reply(encode_error(Retry("busy", delay=3), 5))
    with pytest.raises(Retry, match="busy") as raised:
        reply.value()
    assert raised.value.delay == 3
    assert "Retry: busy" in str(raised.value.__cause__)


@pytest.mark.parametrize("error", [OneWayError("a", "b"), HostileError("ab"), ValueError("ab" * RESULT_BYTES)])
def test_an_exception_that_cannot_be_sent_is_described(error: Exception) -> None:
    with pytest.raises(ChildFailureError, match=f"{type(error).__name__}: ab"):
        decode_reply(encode_error(error, 0)).value()


def test_a_result_that_cannot_be_sent_fails_the_task() -> None:
    with pytest.raises(ResultTooLargeError, match=f"may send {RESULT_BYTES}"):
        decode_reply(encode_reply(bytes(RESULT_BYTES), 0)).value()
    with pytest.raises(Exception, match="pickle"):
        decode_reply(encode_reply(lambda: None, 0)).value()


def test_a_reply_that_cannot_be_read_fails_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode_reply(ReadOnce(), 0)
    monkeypatch.setattr(ReadOnce, "is_readable", False)
    with pytest.raises(ChildFailureError, match="no such class here"):
        decode_reply(encoded).value()
