"""Where user code is at this moment, seen from another thread."""

import sys
import traceback
from collections.abc import Iterator
from types import CoroutineType, FrameType

from .batches.gathering import call_of
from .bounds import STACK_CHARACTERS, STACK_FRAMES
from .run import Run


def stack_of_thread(thread: int | None) -> str:
    """Return the innermost frames of a thread; empty if it has ended."""
    frame = sys._current_frames().get(thread or 0)  # noqa: SLF001 - documented for debuggers
    return _formatted(traceback.walk_stack(frame)) if frame is not None else ""


def stack_of_run(run: Run) -> str:
    """Return where the handler runs, or what it awaits."""
    coroutine = call_of(run.task).get_coro() if run.task is not None and not run.is_in_thread else None
    if isinstance(coroutine, CoroutineType) and not coroutine.cr_running:
        return _formatted(_awaited(coroutine))
    return stack_of_thread(run.thread)


def _awaited(coroutine: object) -> Iterator[tuple[FrameType, int]]:
    """Return the frames of a suspended coroutine and of those it awaits, the innermost first."""
    frames: list[tuple[FrameType, int]] = []
    while isinstance(coroutine, CoroutineType) and coroutine.cr_frame is not None:
        frames.append((coroutine.cr_frame, coroutine.cr_frame.f_lineno))
        coroutine = coroutine.cr_await
    return reversed(frames)


def _formatted(frames: Iterator[tuple[FrameType, int]]) -> str:
    """Format frames that come innermost first, as a stack trace has them."""
    summary = traceback.StackSummary.extract(frames, limit=STACK_FRAMES)
    summary.reverse()
    return "".join(summary.format())[-STACK_CHARACTERS:]
