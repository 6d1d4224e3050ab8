"""Bindings are told apart by their arguments, when they are read, declared and removed."""

from typing import Any, cast

import orjson
import pytest

from taskqueue_operator.rabbitmq.apply import apply_step
from taskqueue_operator.rabbitmq.known_listings import KnownListings
from taskqueue_operator.rabbitmq.management import Management
from taskqueue_operator.rabbitmq.topology_reader import TopologyReader
from taskqueue_operator.topology.diff import Declare, Remove
from taskqueue_operator.topology.objects import Binding

PDF = Binding("docs", "jobs.in", to_queue=False, arguments=(("format", "pdf"), ("pages", 1), ("x-match", "all")))
NO_HEADERS = Binding("docs", "jobs.in", to_queue=False)


def listed(arguments: object, properties_key: str) -> dict[str, Any]:
    """Return a binding as the management API lists it."""
    return {
        "source": "docs",
        "vhost": "/",
        "destination": "jobs.in",
        "destination_type": "exchange",
        "routing_key": "",
        "arguments": arguments,
        "properties_key": properties_key,
    }


LISTING = [
    listed({}, "~"),
    listed({"x-match": "all", "pages": 1, "format": "pdf"}, "~a"),
    listed({"x-match": "all", "pages": "1", "format": "pdf"}, "~b"),
    listed({"x-match": "all", "pages": True, "format": "pdf"}, "~c"),
    listed({"x-match": "all", "pages": 1.0, "format": "pdf"}, "~d"),
    listed({"x-match": "all", "pages": [1], "format": "pdf"}, "~e"),
    listed({"x-match": "all", "pages": None, "format": "pdf"}, "~f"),
]


class Api:
    """A management API with some bindings, which records what is written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, object]] = []

    async def read(self, path: str) -> list[dict[str, Any]]:
        assert path == "bindings/{vhost}/e/docs/e/jobs.in"
        return LISTING

    async def read_text(self, path: str, **query: str) -> bytes:
        return orjson.dumps(LISTING if path.startswith("bindings") and "arguments" in query["columns"] else [])

    async def parse(self, text: bytes) -> Any:  # noqa: ANN401  any JSON
        return orjson.loads(text)

    async def write(self, method: str, path: str, body: object, *, operation: str) -> None:
        del operation
        self.written.append((method, path, body))

    async def delete(self, path: str, *, operation: str) -> None:
        del operation
        self.written.append(("DELETE", path, None))


async def test_bindings_with_other_arguments_are_read_as_other_bindings() -> None:
    """Values of other types differ, as in RabbitMQ: 1, "1" and true are three headers."""
    reader = TopologyReader(cast("Management", Api()), KnownListings())

    bindings = (await reader.read(conditionally=False)).bindings

    assert len(bindings) == len(LISTING)
    assert {PDF, NO_HEADERS} <= bindings


async def test_a_binding_is_declared_with_its_arguments() -> None:
    api = Api()
    await apply_step(cast("Management", api), Declare(PDF))

    body = {"routing_key": "", "arguments": {"format": "pdf", "pages": 1, "x-match": "all"}}
    assert api.written == [("POST", "bindings/{vhost}/e/docs/e/jobs.in", body)]


@pytest.mark.parametrize(("binding", "key"), [(NO_HEADERS, "~"), (PDF, "~a")])
async def test_only_the_binding_with_these_arguments_is_removed(binding: Binding, key: str) -> None:
    api = Api()
    await apply_step(cast("Management", api), Remove(binding))

    assert [(method, path.rpartition("/")[2].replace("%7E", "~")) for method, path, _ in api.written] == [
        ("DELETE", key)
    ]
