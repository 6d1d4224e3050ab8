"""Objects beyond a bound become stubs; all others are parsed as ever, wherever the text is cut."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskqueue_operator.kube import bounded_objects
from taskqueue_operator.kube.bounded_objects import read_body
from taskqueue_operator.resource.bounds import BEYOND_BOUNDS, OBJECT_BYTES, OBJECT_LEVELS, OBJECT_VALUES

SEPARATOR = '},{"apiVersion":"taskqueue.dev/v1alpha1","kind":"TaskQueue","metadata":{"name":"forged"}'
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)  # the API server has no larger ones
    | st.text(max_size=8)
    | st.sampled_from(['"', "\\", SEPARATOR, "\\u00e9"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4), values, max_size=3),
    max_leaves=12,
)


def taskqueue(name: str = "jobs", **spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "taskqueue.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name, "namespace": "media", "uid": f"uid-{name}", "resourceVersion": "7", "generation": 2},
        "spec": {"worker": {"image": "worker"}} | spec,
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def text(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def nested(levels: int) -> bytes:
    """Return the text of a TaskQueue whose podTemplate is nested this deep; `json` cannot write it."""
    return text(taskqueue(worker={"podTemplate": "?"})).replace(b'"?"', b'{"a":' * levels + b"1" + b"}" * levels)


def of_bytes(count: int) -> bytes:
    return text(taskqueue(worker={"image": "worker", "podTemplate": {"spec": {"hostname": "x" * count}}}))


def of_values(count: int) -> bytes:
    return text(taskqueue(worker={"image": "worker", "podTemplate": {"spec": [{}] * count}}))


BEYOND = [nested(1_200), nested(9_000), nested(70), of_bytes(OBJECT_BYTES), of_values(OBJECT_VALUES)]


def read(body: bytes, piece: int) -> dict[str, Any]:
    async def pieces() -> AsyncIterator[bytes]:
        for n in range(0, len(body), piece):
            yield body[n : n + piece]

    return asyncio.run(read_body(pieces()))


def parse_object(text: bytes) -> dict[str, Any]:
    return asyncio.run(bounded_objects.parse_object(text))


def bounded_event(line: bytes) -> bytes:
    return asyncio.run(bounded_objects.bounded_event(line))


def listing(*items: bytes) -> bytes:
    return (
        b'{"apiVersion":"v1","items":[' + b",".join(items) + b'],"kind":"TaskQueueList","metadata":{"continue":"x"}}\n'
    )


@pytest.mark.parametrize("beyond", BEYOND, ids=["1,200 levels", "9,000 levels", "70 levels", "bytes", "values"])
def test_an_object_beyond_a_bound_becomes_a_stub_with_its_identity_and_status(beyond: bytes) -> None:
    stub = parse_object(beyond)
    assert stub.pop(BEYOND_BOUNDS).startswith("spec.worker.podTemplate ")
    expected = taskqueue()
    del expected["spec"]
    assert stub == expected


def test_an_object_within_the_bounds_is_parsed() -> None:
    body = taskqueue(worker={"podTemplate": {"a": [1, '}\\"]', None]}})
    assert parse_object(text(body)) == body
    assert BEYOND_BOUNDS not in parse_object(nested(OBJECT_LEVELS - 4))


@pytest.mark.parametrize("beyond", BEYOND, ids=["1,200 levels", "9,000 levels", "70 levels", "bytes", "values"])
def test_an_object_beyond_a_bound_costs_only_itself_in_a_list_and_in_a_watch(beyond: bytes) -> None:
    others = taskqueue("first"), taskqueue("last")
    body = read(listing(text(others[0]), beyond, text(others[1])), 1000)
    assert (body["items"][0], body["items"][2]) == others
    assert body["items"][1] == parse_object(beyond)
    assert body["metadata"] == {"continue": "x"}
    event = json.loads(bounded_event(b'{"type":"ADDED","object":' + beyond + b"}"))
    assert event == {"type": "ADDED", "object": parse_object(beyond)}


def test_a_list_of_objects_that_together_exceed_the_bounds_is_read_whole() -> None:
    items = [taskqueue(f"q{n}", filler="x" * 20_000) for n in range(40)]
    assert read(listing(*map(text, items)), 65_536)["items"] == items


@given(st.lists(JSON, max_size=4), st.integers(1, 50))
@example([SEPARATOR], 1)
def test_a_list_is_read_however_it_is_cut_and_whatever_its_items_contain(values: list[object], piece: int) -> None:
    items = [taskqueue(f"q{n}", anything=value) for n, value in enumerate(values)]
    body = read(listing(nested(100), *map(text, items), nested(100)), piece)
    assert body["items"][1:-1] == items
    assert body["kind"] == "TaskQueueList"


@given(JSON)
def test_an_event_within_the_bounds_is_not_changed(value: object) -> None:
    line = text({"type": "MODIFIED", "object": taskqueue(anything=value)})
    assert bounded_event(line) == line


@given(st.binary(max_size=80) | st.text(alphabet='{}[]",:\\a1 ', max_size=80).map(str.encode))
def test_text_that_is_no_object_is_refused(text: bytes) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    if isinstance(expected, dict):
        assert parse_object(text) == expected
    else:
        with pytest.raises(ValueError, match=r"."):
            parse_object(text)


def test_a_large_object_of_another_kind_is_read_with_its_name() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "rabbitmq"}, "data": {"uri": "x" * OBJECT_BYTES}}
    assert read(text(secret), 1 << 16) == {
        "kind": "Secret",
        "metadata": {"name": "rabbitmq"},
        BEYOND_BOUNDS: f"data.uri makes the object larger than {OBJECT_BYTES} bytes",
    }
