"""A purge asks at a terminal; only a clear yes deletes."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from taskqueue_operator.commands import confirmation
from taskqueue_operator.dead_letters.groups import Groups
from taskqueue_operator.dead_letters.letter import DeadLetter


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal that is the standard input."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert confirmation.can_ask()
        yield ours
    os.close(ours)


def groups() -> Groups:
    found = Groups()
    found.add(DeadLetter(type="image.resize", reason="failed"))
    return found


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y", True), ("YES", True), ("", False), ("n", False), ("yellow", False)]
)
async def test_only_yes_confirms(terminal: int, answer: str, agreed: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001  a case
    os.write(terminal, f"{answer}\n".encode())
    assert await confirmation.ask(groups(), "jobs.dlq", asyncio.Event()) is agreed
    asked = capsys.readouterr().err
    assert "image.resize failed" in asked
    assert 'Delete 1 dead letters of queue "jobs.dlq"?' in asked


async def test_a_stop_ends_the_question(terminal: int) -> None:  # noqa: ARG001  without an answer
    stop = asyncio.Event()
    asking = asyncio.create_task(confirmation.ask(groups(), "jobs.dlq", stop))
    await asyncio.sleep(0)
    stop.set()
    assert not await asking


@pytest.mark.looptime
async def test_no_answer_in_time_does_not_confirm(terminal: int) -> None:  # noqa: ARG001  without an answer
    started = asyncio.get_running_loop().time()
    assert not await confirmation.ask(groups(), "jobs.dlq", asyncio.Event())
    assert asyncio.get_running_loop().time() - started == pytest.approx(confirmation.CONFIRM_SECONDS)
