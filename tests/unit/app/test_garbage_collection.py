"""What survives a long garbage collection is not scanned again."""

import gc
from collections.abc import Iterator

import pytest

from taskqueue_operator.app.garbage_collection import FULL, LONG_COLLECTION_SECONDS, short_collections


@pytest.mark.parametrize(
    ("generation", "seconds", "expected"),
    [(FULL, 2 * LONG_COLLECTION_SECONDS, 1), (FULL, LONG_COLLECTION_SECONDS / 2, 0), (FULL - 1, 1.0, 0)],
    ids=["a long full collection", "a short one", "a collection of young objects"],
)
def test_objects_are_exempt_once_they_have_survived_a_long_full_collection(
    generation: int, seconds: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(None))
    times: Iterator[float] = iter([100.0, 100.0 + seconds])
    gc.disable()  # no collection but that of the test
    try:
        with short_collections(lambda: next(times)):
            gc.collect(generation)
        gc.collect(generation)
    finally:
        gc.enable()
    assert len(frozen) == expected
