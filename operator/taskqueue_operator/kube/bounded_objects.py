"""Parses objects of the API server within bounds. An object beyond a bound costs only itself.

The API server accepts objects that Python's parsers do not: nested 9,000 levels deep, or with a million values. An
object beyond a bound becomes a stub: its identity and its status, and at the key BEYOND_BOUNDS what is wrong.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import orjson
import structlog

from taskqueue_operator.resource.bounds import (
    BEYOND_BOUNDS,
    OBJECT_BYTES,
    OBJECT_LEVELS,
    OBJECT_VALUES,
    STUB_FIELD_BYTES,
)

Body = dict[str, Any]

_log = structlog.get_logger("objects")

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRINGS: Final = re.compile(_STRING, re.DOTALL)
_TEXT: Final = rb'[^"{}\[\]]++|' + _STRING
_KEY: Final = re.compile(rb"[{,]\s*(" + _STRING + rb")\s*:\s*", re.DOTALL)
_SCALAR: Final = re.compile(_STRING + rb"|[^,{}\[\]\s]++", re.DOTALL)
_PARENTHESES: Final = bytes.maketrans(b"{[]}", b"(())")
_NOT_COUNTED: Final = bytes(set(range(256)) - set(b"{[]},"))
SKIPPED_LEVELS: Final = 8
"""Levels below a bracket that the regular expression skips: a loop over each bracket takes much longer."""


def _container(levels: int) -> bytes:
    inner = _TEXT if levels == 1 else _TEXT + b"|" + _container(levels - 1)
    return rb"[{\[](?:" + inner + rb")*+[}\]]"


_NEXT_BRACKET: Final = re.compile(rb"(?:" + _TEXT + rb")*+([{}\[\]])", re.DOTALL)
_NEXT_OUTER_BRACKET: Final = re.compile(
    rb"(?:" + _TEXT + b"|" + _container(SKIPPED_LEVELS) + rb")*+([{}\[\]])", re.DOTALL
)
"""Skips whole objects and arrays, except those that are nested deeper, or not complete."""
_EVENT: Final = re.compile(rb'\{"type":("[A-Z]+"),"object":(.*)\}', re.DOTALL)
_IDENTITY: Final = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp", "finalizers", "labels"}
)
_ITEMS: Final = b'"items":['
_INSIDE_LIST: Final = 2
"""Open brackets between two items of a list."""
PIECE_BYTES: Final = 1 << 16
"""Text that is parsed in one piece; takes less than 10 ms."""


async def parse_object(text: bytes) -> Body:
    """Parse one object, or return its stub.

    Raises:
        ValueError: The text is not a JSON object.
    """
    problem = _problem(text)
    if problem is None:
        return _parse(text)
    # In a thread: an object that is made to be slow takes seconds, and decisions would wait.
    return await asyncio.to_thread(_stub, text, problem)


async def bounded_event(line: bytes) -> bytes:
    """Return the line of a watch with the stub of its object, if the object is beyond a bound; else the line."""
    problem, event = _problem(line), _EVENT.fullmatch(line)
    if problem is None or event is None:
        return line
    return b'{"type":%b,"object":%b}' % (event[1], orjson.dumps(await asyncio.to_thread(_stub, event[2], problem)))


async def read_body(pieces: AsyncIterator[bytes]) -> Body:
    """Read the body of an answer: an object or a list. Beyond the bounds of one object, items are parsed one by one.

    Raises:
        ValueError: The text is not a JSON object.
    """
    read: list[bytes] = []
    async for piece in pieces:
        read.append(piece)
        if sum(map(len, read)) > OBJECT_BYTES:
            break
    text = b"".join(read)
    if _problem(text) is None:
        return _parse(text)
    splitter, items = _Splitter(), []
    for n in range(0, len(text), PIECE_BYTES):
        items += [await parse_object(item) for item in splitter.feed(text[n : n + PIECE_BYTES])]
        await asyncio.sleep(0)
    async for piece in pieces:
        items += [await parse_object(item) for item in splitter.feed(piece)]
        await asyncio.sleep(0)
    body = await parse_object(splitter.outside())
    return body | {"items": items} if "items" in body else body


def readable(bodies: list[Body]) -> list[Body]:
    """Return the objects of a list that are within the bounds; the log names the others."""
    for body in bodies:
        if BEYOND_BOUNDS in body:
            log_ignored(body)
    return [body for body in bodies if BEYOND_BOUNDS not in body]


def log_ignored(stub: Mapping[str, Any]) -> None:
    """Log that an object is not read. Without a pod, the workers are never complete, so none of them is removed."""
    name = f"{stub['metadata'].get('namespace')}/{stub['metadata'].get('name')}"
    _log.warning("object ignored", kind=stub.get("kind"), name=name, detail=stub[BEYOND_BOUNDS])


class _Splitter:
    """Splits the text of a list into its items, piece by piece."""

    def __init__(self) -> None:
        self._outside = b""
        """The text before the first item."""
        self._text = b""
        self._at = 0
        """Position in the text up to which brackets are counted."""
        self._depth = 0
        self._inside = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take the next piece of the text, and return the items that are complete."""
        self._text += piece
        done = 0
        while found := self._next_bracket().match(self._text, self._at):
            self._at = found.end()
            self._depth += 1 if found[1] in b"{[" else -1
            if self._inside and self._depth < _INSIDE_LIST:
                self._inside, done = False, found.start(1)
            elif self._inside and self._depth == _INSIDE_LIST:
                yield self._text[done : self._at].lstrip(b", \r\n")
                done = self._at
            elif self._depth == _INSIDE_LIST and self._text.endswith(_ITEMS, 0, self._at):
                self._outside, self._inside, done = self._text[: self._at], True, self._at
        self._text, self._at = self._text[done:], self._at - done

    def outside(self) -> bytes:
        """Return the text without the items: the list, or the object if it is none."""
        return self._outside + self._text

    def _next_bracket(self) -> "re.Pattern[bytes]":
        # Below an item, whole parts of it are skipped. An item itself is not, nor the list.
        return _NEXT_OUTER_BRACKET if self._depth > _INSIDE_LIST else _NEXT_BRACKET


def _problem(text: bytes) -> str | None:
    """Return which bound an object exceeds, if any."""
    if len(text) > OBJECT_BYTES:
        return f"makes the object larger than {OBJECT_BYTES} bytes"
    separators = _STRINGS.sub(b"", text).translate(_PARENTHESES, _NOT_COUNTED)
    parentheses = separators.replace(b",", b"")
    if len(separators) - len(parentheses) // 2 > OBJECT_VALUES:
        return f"makes the object larger than {OBJECT_VALUES} values"
    for _ in range(OBJECT_LEVELS):
        parentheses = parentheses.replace(b"()", b"")
    # What is left otherwise is not JSON, which the parser says.
    return f"is nested deeper than {OBJECT_LEVELS} levels" if b"()" in parentheses else None


def _parse(text: bytes) -> Body:
    body = orjson.loads(text)
    if not isinstance(body, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  JSONDecodeError is a ValueError too
    return body


def _stub(text: bytes, problem: str) -> Body:
    top = _fields(text)
    metadata = _fields(top.get("metadata", b"{}"))
    kept = {name: value for name, value in metadata.items() if name in _IDENTITY and _is_small(value)}
    stub = {name: orjson.loads(top[name]) for name in ("apiVersion", "kind", "status") if _is_small(top.get(name, b""))}
    path = _largest_field(top | {"metadata": metadata.get("annotations", b"")})
    return stub | {
        "metadata": {name: orjson.loads(value) for name, value in kept.items()},
        BEYOND_BOUNDS: f"{path} {problem}",
    }


def _is_small(text: bytes) -> bool:
    return 0 < len(text) <= STUB_FIELD_BYTES and _problem(text) is None


def _largest_field(top: dict[str, bytes]) -> str:
    """Return the path of the largest part of an object, three fields long at most."""
    path: list[str] = []
    fields = top
    while fields and len(path) < 3:  # noqa: PLR2004  spec.worker.podTemplate
        name = max(fields, key=lambda name: len(fields[name]))
        path.append(name)
        fields = _fields(fields[name]) if fields[name].startswith(b"{") else {}
    return ".".join(path)


def _fields(text: bytes) -> dict[str, bytes]:
    """Return the fields of a JSON object and the text of each value; nothing below them is parsed."""
    fields, at = {}, 0
    while key := _KEY.match(text, at):
        at = _end_of_value(text, key.end())
        fields[orjson.loads(key[1])] = text[key.end() : at]
        at += len(text[at : at + 16]) - len(text[at : at + 16].lstrip())
    return fields


def _end_of_value(text: bytes, start: int) -> int:
    scalar = _SCALAR.match(text, start)
    if scalar is not None:
        return scalar.end()
    at, depth = start + 1, 1
    while depth and (found := _NEXT_OUTER_BRACKET.match(text, at)):
        at = found.end()
        depth += 1 if found[1] in b"{[" else -1
    return at
