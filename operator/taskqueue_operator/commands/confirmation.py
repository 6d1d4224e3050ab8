"""Asks the user of a terminal for a confirmation."""

import asyncio
import sys
from contextlib import suppress
from typing import Final

from taskqueue_operator.dead_letters.groups import Groups

CONFIRM_SECONDS: Final = 300.0
"""The messages are held meanwhile; after 30 min the broker would take them back."""
SHOWN_GROUPS: Final = 20
"""Groups that the question lists; the largest ones."""


def can_ask() -> bool:
    """Whether there is someone to ask."""
    return sys.stdin.isatty()


async def ask(groups: Groups, name: str) -> bool:
    """Ask whether the dead letters of these groups are to be deleted; no answer within 5 min means no."""
    for group, figures in groups.largest_first()[:SHOWN_GROUPS]:
        print(f"  {figures.count}  {' '.join(filter(None, group))}", file=sys.stderr)  # noqa: T201  the question
    question = f'Delete {groups.count} dead letters of queue "{name}"? [y/N] '
    print(question, end="", file=sys.stderr, flush=True)  # noqa: T201  the question
    return (await _line()).strip().lower() in {"y", "yes"}


async def _line() -> str:
    """Read a line without a thread, which could not be interrupted."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(sys.stdin, lambda: readable.done() or readable.set_result(None))
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(CONFIRM_SECONDS):
                await readable
                return sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin)
    return ""
