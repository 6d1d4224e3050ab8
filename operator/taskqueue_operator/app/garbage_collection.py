"""Keeps garbage collections short: the event loop is held while one scans the objects of thousands of TaskQueues."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

LONG_COLLECTION_SECONDS: Final = 0.01
"""CPU time of a full collection after which its survivors are exempt: it scans about 100,000 objects in that time."""
FULL: Final = 2
"""The generation of a full collection."""


class _Exemption:
    def __init__(self, cpu_seconds: Callable[[], float]) -> None:
        self._cpu_seconds = cpu_seconds
        self._began = 0.0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] < FULL:
            return
        if phase == "start":
            self._began = self._cpu_seconds()
        elif self._cpu_seconds() - self._began > LONG_COLLECTION_SECONDS:
            gc.freeze()


@contextmanager
def short_collections(cpu_seconds: Callable[[], float] = time.thread_time) -> Iterator[None]:
    """Exempt the objects that survive a long collection from later ones, while the context lasts.

    An exempt object is freed as soon as nothing refers to it, except if it is part of a cycle: then it is never freed.
    So objects are exempt only after many new ones that live long, which there are while the operator starts.
    """
    exemption = _Exemption(cpu_seconds)
    gc.callbacks.append(exemption)
    try:
        yield
    finally:
        gc.callbacks.remove(exemption)
