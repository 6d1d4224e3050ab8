"""Messages as hostile as they get, for fuzz tests of the parsers of reports and commands."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=300)
    | st.sampled_from(["", "\x00", "\ud800", "x" * 100_000, 10**1000])
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


def _nested(depth: int, opening: str, closing: str) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


def _with(example: Mapping[str, Any], name: str, value: bytes) -> bytes:
    marker = json.dumps({name: "here"})[1:-1].encode()
    return json.dumps({**example, name: "here"}).encode().replace(marker, json.dumps(name).encode() + b": " + value)


def hostile_json(example: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Return mutations of a valid message: other values, missing fields, nesting, truncation and arbitrary bytes."""
    names = st.sampled_from([*example, "unknown"])
    changed = st.dictionaries(names, _VALUES, max_size=3).map(lambda changes: {**example, **changes})
    removed = st.sets(names, max_size=2).flatmap(
        lambda gone: changed.map(lambda body: {name: value for name, value in body.items() if name not in gone})
    )
    texts = removed.map(lambda body: json.dumps(body).encode("utf-8", "surrogatepass"))
    depths = st.sampled_from([10, 199, 201, 1000, 1023, 1025, 100_000])
    nested = st.builds(_nested, depths, st.just("["), st.just("]")) | st.builds(
        _nested, depths, st.just('{"a":'), st.just("}")
    )
    within = st.builds(lambda name, inner: _with(example, name, inner), names, nested)
    cut = st.builds(lambda text, end: text[:end], texts, st.integers(0, 400))
    return texts | nested | within | cut | st.binary(max_size=600)
