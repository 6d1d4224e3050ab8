"""Keeps garbage collections short: the event loop is held while one scans the objects of thousands of TaskQueues."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

LONG_COLLECTION_SECONDS: Final = 0.01
"""CPU time of a full collection after which its survivors are exempt: it scans about 15,000 objects in that time."""
COLLECTIONS_UNTIL_FULL: Final = 3
"""Collections of younger objects until a full one: Python's 10 let a full one find 40,000 objects, and take 35 ms."""
FULL: Final = 2
"""The generation of a full collection."""


def exempt_all() -> None:
    """Exempt all present objects from later collections, without scanning them.

    Python waits for a quarter more objects than the last full collection has found, and then scans all of them. One
    that finds none makes the next one come soon.
    """
    gc.freeze()
    gc.collect()


class _Exemption:
    def __init__(self, cpu_seconds: Callable[[], float], loop: asyncio.AbstractEventLoop) -> None:
        self._cpu_seconds = cpu_seconds
        self._loop = loop
        self._began = 0.0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] < FULL:
            return
        if phase == "start":
            self._began = self._cpu_seconds()
        elif self._cpu_seconds() - self._began > LONG_COLLECTION_SECONDS:
            # Not here: a collection within another does nothing.
            self._loop.call_soon_threadsafe(exempt_all)


@contextmanager
def short_collections(cpu_seconds: Callable[[], float] = time.thread_time) -> Iterator[None]:
    """Exempt what exists, and the objects that survive a long collection from later ones, while the context lasts.

    An exempt object is freed as soon as nothing refers to it, except if it is part of a cycle: then it is never freed.
    So objects are exempt only after many new ones that live long, which there are while the operator starts.
    """
    exemption = _Exemption(cpu_seconds, asyncio.get_running_loop())
    thresholds = gc.get_threshold()
    gc.set_threshold(*thresholds[:FULL], COLLECTIONS_UNTIL_FULL)
    exempt_all()
    gc.callbacks.append(exemption)
    try:
        yield
    finally:
        gc.callbacks.remove(exemption)
        gc.set_threshold(*thresholds)
