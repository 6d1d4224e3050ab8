"""Asks the user of a terminal for a confirmation."""

import asyncio
import sys
from typing import Final

from taskqueue_operator.dead_letters.groups import Groups

CONFIRM_SECONDS: Final = 300.0
"""The messages are held meanwhile; after 30 min the broker would take them back."""
SHOWN_GROUPS: Final = 20
"""Groups that the question lists; the largest ones."""


def can_ask() -> bool:
    """Whether there is someone to ask."""
    return sys.stdin.isatty()


async def ask(groups: Groups, name: str, stop: asyncio.Event) -> bool:
    """Ask whether the dead letters of these groups are to be deleted; no answer within 5 min, and a stop, mean no."""
    for group, figures in groups.largest_first()[:SHOWN_GROUPS]:
        print(f"  {figures.count}  {' '.join(filter(None, group))}", file=sys.stderr)  # noqa: T201  the question
    question = f'Delete {groups.count} dead letters of queue "{name}"? [y/N] '
    print(question, end="", file=sys.stderr, flush=True)  # noqa: T201  the question
    return (await _line(stop)).strip().lower() in {"y", "yes"}


async def _line(stop: asyncio.Event) -> str:
    """Read a line without a thread, which could not be interrupted."""
    loop = asyncio.get_running_loop()
    readable, stopped = asyncio.Event(), asyncio.create_task(stop.wait())
    answered = asyncio.create_task(readable.wait())
    loop.add_reader(sys.stdin, readable.set)
    try:
        await asyncio.wait({answered, stopped}, timeout=CONFIRM_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(sys.stdin)
        answered.cancel()
        stopped.cancel()
    return sys.stdin.readline() if readable.is_set() and not stop.is_set() else ""
