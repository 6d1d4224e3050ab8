"""Parses the JSON of a management API. A long listing is parsed in slices, between which other tasks run."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson

from taskqueue_operator.resource import bounds

from .shapes import is_listing

Items = Sequence[dict[str, Any]]
SLICE: Final = 1000
"""Objects of a listing that are worked on in one piece: about 5 ms."""
_BETWEEN = b"},{"
"""Between two objects of a list, as RabbitMQ writes it; also between two objects further inside, or within a text."""


def parse(text: bytes | bytearray) -> Any:  # noqa: ANN401  any JSON value
    """Return a JSON value; None if it is no JSON, too long for one piece, or nested too deeply."""
    if len(text) > bounds.JSON_PIECE_BYTES:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if _is_shallow(value) else None


async def parse_listing(text: bytearray) -> list[dict[str, Any]] | None:
    """Return the objects of a list; None if it is no list of objects that RabbitMQ sends."""
    items: list[dict[str, Any]] = []
    begin = 0
    while begin < len(text):
        found, begin = _next_slice(text, begin)
        if not is_listing(found):
            return None
        items += found
        await asyncio.sleep(0)
    return items if text else None


async def in_slices(items: Items) -> AsyncIterator[dict[str, Any]]:
    """Iterate over a listing; other tasks run after each slice."""
    for number, item in enumerate(items):
        if number % SLICE == 0:
            await asyncio.sleep(0)
        yield item


def _next_slice(text: bytearray, begin: int) -> tuple[Any, int]:
    """Return the list of the next objects, and where the text goes on.

    What is between two positions is a list of whole objects if and only if it is JSON, when brackets are added.
    """
    length = bounds.JSON_SLICE_BYTES
    while length <= bounds.JSON_PIECE_BYTES:
        cut = text.find(_BETWEEN, begin + length)
        end = cut + 1 if cut >= 0 else len(text)
        opening, closing = b"[" if begin else b"", b"]" if cut >= 0 else b""
        value = parse(opening + text[begin:end] + closing)
        if value is not None:
            return value, end + 1
        length *= 2
    return None, begin


def _is_shallow(value: object) -> bool:
    """Whether objects and lists are nested no deeper than they may be; without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(bounds.JSON_DEPTH):
        containers = (inner.values() if isinstance(inner, dict) else inner for inner in level)
        level = [inner for container in containers for inner in container if isinstance(inner, dict | list)]
        if not level:
            return True
    return False
