"""A work queue that runs, and a worker that records when each key begins."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from taskqueue_operator.control.slots import Slots
from taskqueue_operator.control.workqueue import WorkQueue
from taskqueue_operator.resource.names import Key

A, B = Key("n", "a"), Key("n", "b")
Work = Callable[[Key], Awaitable[float | None]]


def now() -> float:
    return round(asyncio.get_running_loop().time(), 2)


class Worker:
    """Processes a key in `seconds`, records the start, and raises what `fails` contains."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds
        self.began: list[tuple[float, str]] = []
        self.fails: dict[Key, Exception] = {}
        self.again: dict[Key, float] = {}
        self.at_once: set[Key] = set()

    async def __call__(self, key: Key) -> float | None:
        assert key not in self.at_once, "one key is processed twice at a time"
        self.began.append((now(), key.name))
        self.at_once.add(key)
        await asyncio.sleep(self.seconds)
        self.at_once.discard(key)
        if key in self.fails:
            raise self.fails[key]
        return self.again.get(key)


@asynccontextmanager
async def running(work: Work, *, slots: Slots | None = None) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue("test", work, slots or Slots(4), jitter=lambda _, most: most)
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
