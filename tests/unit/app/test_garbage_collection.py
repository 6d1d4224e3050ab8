"""What survives a long garbage collection is not scanned again."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from taskqueue_operator.app.garbage_collection import (
    COLLECTIONS_UNTIL_FULL,
    FULL,
    LONG_COLLECTION_SECONDS,
    short_collections,
)


@pytest.mark.parametrize(
    ("generation", "seconds", "expected"),
    [(FULL, 2 * LONG_COLLECTION_SECONDS, 1), (FULL, LONG_COLLECTION_SECONDS / 2, 0), (FULL - 1, 1.0, 0)],
    ids=["a long full collection", "a short one", "a collection of young objects"],
)
async def test_objects_are_exempt_once_they_have_survived_a_long_full_collection(
    generation: int, seconds: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(None))
    times: Iterator[float] = iter([100.0, 100.0 + seconds])
    gc.disable()  # no collection but that of the test
    try:
        with short_collections(lambda: next(times, 0.0)):
            frozen.clear()
            gc.collect(generation)
            await asyncio.sleep(0)
        gc.collect(generation)
    finally:
        gc.enable()
    assert len(frozen) == expected


async def test_what_exists_is_exempt_and_later_full_collections_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(None))
    before = gc.get_threshold()
    with short_collections():
        assert len(frozen) == 1
        assert gc.get_threshold() == (*before[:2], COLLECTIONS_UNTIL_FULL)
    assert gc.get_threshold() == before


async def test_after_an_exemption_a_collection_finds_how_few_objects_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 100.0 + 2 * LONG_COLLECTION_SECONDS])
    monkeypatch.setattr(gc, "freeze", lambda: None)
    collected = asyncio.Event()
    with short_collections(lambda: next(times, 100.0)):
        monkeypatch.setattr(gc, "collect", collected.set)
        for phase in ("start", "stop"):
            gc.callbacks[-1](phase, {"generation": FULL})
        async with asyncio.timeout(10):
            await collected.wait()
