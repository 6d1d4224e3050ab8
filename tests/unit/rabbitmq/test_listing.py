"""Listings are parsed in slices, with the same result as in one piece."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.rabbitmq import listing
from taskqueue_operator.rabbitmq.listing import parse, parse_listing
from taskqueue_operator.resource import bounds
from tests.unit.iterations import counted_iterations

NAMES = st.one_of(st.text(), st.sampled_from(["},{", '"},{"', "]", "[{", "\\"]))
ITEM: st.SearchStrategy[dict[str, object]] = st.fixed_dictionaries(
    {"name": NAMES}, optional={"arguments": st.dictionaries(NAMES, st.one_of(NAMES, st.lists(st.just({}), max_size=3)))}
)


@given(st.lists(ITEM, max_size=30))
async def test_slices_are_cut_between_objects(items: list[dict[str, object]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "JSON_SLICE_BYTES", 1)
        assert await parse_listing(bytearray(orjson.dumps(items))) == items


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"null",
        b"[",
        b"[{}",
        b"[{},{}",
        b"[{},{}]]",
        b"[{}],[{},{}]",
        b"[[{},{}]]",
        b'[{"a":[{},{}}]',
        b"[1]",
    ],
)
async def test_what_is_no_list_of_objects_is_refused(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "JSON_SLICE_BYTES", 1)
    assert await parse_listing(bytearray(text)) is None


async def test_an_object_that_is_too_long_for_one_piece_is_refused() -> None:
    long = b'{"arguments":[' + b"{}," * (bounds.JSON_PIECE_BYTES // 3) + b"{}]}"
    assert parse(long) is None
    assert await parse_listing(bytearray(b"[%b,{}]" % long)) is None


async def test_other_tasks_run_between_the_slices_of_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"name": f"queue-{number}", "arguments": {"x-queue-type": "quorum"}} for number in range(50_000)]

    def recorded(text: bytes) -> object:
        assert len(text) < 2 * bounds.JSON_SLICE_BYTES
        iterations.record()
        return parse(text)

    monkeypatch.setattr(listing, "parse", recorded)
    with counted_iterations() as iterations:
        assert await parse_listing(bytearray(orjson.dumps(items))) == items
    assert iterations.most == 1
