"""The HTTP endpoints of the operator, over real HTTP."""

from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import quote

import httpx
import pytest

from taskqueue_operator.app.exposition import write_page
from taskqueue_operator.app.health import Endpoints, serving
from taskqueue_operator.app.metrics import Metrics
from taskqueue_operator.resource.names import Key
from tests.approved import assert_approved
from tests.cluster import ports

KEY = Key("media", "thumbnails")
STRANGE = ["..", "a/b", "a%2Fb", "a b", "ü", "a\nb", "<script>", "{name}", "?", "#", "'"]


class Served:
    """A server, a client, and what the server is asked about."""

    def __init__(self) -> None:
        self.ready: str | None = None
        self.asked: list[Key] = []
        self.metrics = Metrics()
        (self.port,) = ports.free(1)
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def recordings(self, key: Key) -> bytes | None:
        self.asked.append(key)
        return b'[{"at": "2026-01-01T00:00:00Z"}]' if key == KEY else None

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    page = partial(write_page, made.metrics.registry)
    async with made.client, serving(made.port, Endpoints(page, lambda: made.ready, made.recordings)):
        yield made


async def test_the_operator_is_live_before_it_is_ready(served: Served) -> None:
    assert (await served.get("/livez")).status_code == 200
    assert (await served.get("/readyz")).status_code == 503
    served.ready = "waiting for leadership, pod-1 leads"
    answer = await served.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "waiting for leadership, pod-1 leads\n")


async def test_metrics_are_served_in_the_format_of_prometheus(served: Served) -> None:
    served.metrics.wrote("status")
    answer = await served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'taskqueue_writes_total{what="status"} 1.0' in answer.text.splitlines()


async def test_the_last_decisions_are_served_as_json(served: Served) -> None:
    answer = await served.get("/debug/taskqueues/media/thumbnails")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == [{"at": "2026-01-01T00:00:00Z"}]
    assert served.asked == [KEY]


async def test_an_unknown_taskqueue_is_not_found(served: Served) -> None:
    answer = await served.get("/debug/taskqueues/media/other")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert_approved("operator.decisions_not_found", answer.text.removesuffix("\n"))


@pytest.mark.parametrize("name", STRANGE)
async def test_a_taskqueue_with_an_invalid_name_is_not_found(served: Served, name: str) -> None:
    answer = await served.get(f"/debug/taskqueues/media/{quote(name, safe='')}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert served.asked in ([Key("media", name)], []), "asked for as it is, or not at all"
