"""What is said of a child that ended."""

import pytest

from taskqueue_worker.pools.child_exit import MIB, ChildExit
from tests.approved import assert_approved


def text(ended: ChildExit) -> str:
    return str(ended.error(100 * MIB))


def test_the_error_says_how_the_child_ended() -> None:
    assert_approved("worker.child.exit_code", text(ChildExit(3, 50 * MIB)))
    assert_approved("worker.child.signal", text(ChildExit(-11, 50 * MIB)))
    assert_approved("worker.child.killed", text(ChildExit(-9, 50 * MIB)))
    assert_approved("worker.child.memory_limit", text(ChildExit(-9, 150 * MIB, held_bytes=120 * MIB)))


def test_a_real_time_signal_has_only_a_number() -> None:
    assert "Signal 63 " in text(ChildExit(-63, 0))


@pytest.mark.parametrize("ended", [ChildExit(0, 1), ChildExit(-9, 2, 3)])
def test_the_line_of_the_fork_server_is_read_as_it_was_written(ended: ChildExit) -> None:
    assert ChildExit.decode(ended.encode()) == ended
    assert ChildExit.decode(b"") is None
