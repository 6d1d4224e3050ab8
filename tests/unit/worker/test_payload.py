"""Payloads as JSON: exact, bounded, or refused with the path of the field."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker.bounds import PAYLOAD_BYTES
from taskqueue_worker.payload import PayloadError, decode, encode

SCALARS = st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
PAYLOADS = st.recursive(
    SCALARS | st.text(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
FRAGMENTS = st.sampled_from(
    [b"[", b"]", b"{", b"}", b'"', b":", b",", b"NaN", b"-Infinity", b"1e999", b"9" * 30, b"\\u", b"\xff", b"a", b"-"]
)


@given(PAYLOADS)
def test_a_payload_arrives_as_it_was_sent(payload: object) -> None:
    assert decode(encode(payload)) == payload


@given(st.binary() | st.lists(FRAGMENTS, max_size=40).map(b"".join))
def test_every_body_is_decoded_or_refused(body: bytes) -> None:
    try:
        payload = decode(body)
    except PayloadError:
        return
    assert json.loads(json.dumps(payload, allow_nan=False)) == payload


@pytest.mark.parametrize("number", [2**63 - 1, 2**64, -(2**63) - 1, 10**400])
def test_an_integer_is_exact_whatever_its_size(number: int) -> None:
    assert decode(b'{"id": %d}' % number) == {"id": number}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"a": {"b": [1, NaN]}}', "payload.a.b[1] is NaN"),
        (b"[-Infinity]", "payload[0] is -Infinity"),
        (b'{"a": 1e999}', "payload.a is 1e999"),
        (b'{"a": %s}' % (b"9" * 5000), "payload.a is 9999"),
    ],
)
def test_a_number_that_cannot_be_exact_is_refused_with_its_path(body: bytes, path: str) -> None:
    with pytest.raises(PayloadError) as refused:
        decode(body)
    assert str(refused.value).startswith(path)


@pytest.mark.parametrize(
    "body", [b"[" * 5000, b"[" * 1100 + b"]" * 1100, b"[" * 1020 + b"9" * 20 + b"]" * 1020, b"{" * 10**6, b"\xff"]
)
def test_a_body_that_is_nested_too_deep_or_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        decode(body)


def test_a_body_that_is_too_long_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PayloadError, match=str(PAYLOAD_BYTES)):
        decode(b"[" + b" " * PAYLOAD_BYTES)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_never_sent(number: float) -> None:
    @dataclass
    class Size:
        width: float

    for payload, path in [
        ({"a": [None, number]}, r"payload\.a\[1\]"),
        ({"a": 2**70, "b": number}, r"payload\.b"),
        ([Size(number)], r"payload\[0\]\.width"),
    ]:
        with pytest.raises(PayloadError, match=path):
            encode(payload)


def test_large_integers_are_sent_beside_objects_that_only_orjson_encodes() -> None:
    assert decode(encode({"n": 2**70, "at": datetime(2026, 1, 1, tzinfo=UTC)})) == {
        "n": 2**70,
        "at": "2026-01-01T00:00:00+00:00",
    }
    with pytest.raises(TypeError):
        encode({"n": 2**70, "at": object()})
