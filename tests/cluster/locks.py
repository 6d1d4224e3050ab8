"""Locks between the processes of this machine: many share a part, or one process has it alone.

The kernel releases a lock when its holder dies, so a killed test run leaves nothing locked.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import cache


@contextmanager
def shared(name: str) -> Iterator[None]:
    """Use the part `name` beside other processes that share it, and never beside one that has it alone."""
    with _locked(f"{name}.turnstile", fcntl.LOCK_EX):
        lock = _locked(name, fcntl.LOCK_SH)
        lock.__enter__()
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Use the part `name` alone.

    It holds the turnstile while it waits: processes that share the part and come later stay behind it, so it is never
    starved by them.
    """
    with _locked(f"{name}.turnstile", fcntl.LOCK_EX), _locked(name, fcntl.LOCK_EX):
        yield


@contextmanager
def _locked(name: str, mode: int) -> Iterator[None]:
    with (cache.locks() / name).open("w") as file:
        fcntl.flock(file, mode)
        yield
