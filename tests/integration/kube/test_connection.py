"""Failures of the API server and of the connection to it. A fake answers: a real server cannot fail on request."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from taskqueue_operator.kube import client
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.bounds import LIST_PAGE_OBJECTS
from taskqueue_operator.resource.faults import Conflict, Fault, Reason
from taskqueue_operator.resource.names import Key
from tests.cluster import ports

KEY = Key("media", "thumbnails")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeApiServer:
    """Gives its answers in turn and repeats the last one; stores the requests."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.answers[min(len(self.requests), len(self.answers)) - 1](request)


def responds(status: int, body: object = None, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body or {"kind": "Status", "message": "the reason"}, status=status, headers=headers)

    return answer


def responds_with_text(status: int, text: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    return answer


async def closes_connection(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.fixture
async def fake_server() -> AsyncIterator[tuple[FakeApiServer, KubernetesCluster]]:
    server, application = FakeApiServer(), web.Application()
    application.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    (port,) = ports.free(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    cluster = KubernetesCluster(ApiClient(Configuration(host=f"http://127.0.0.1:{port}")))
    yield server, cluster
    await cluster.close()
    await runner.cleanup()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF", Backoff(0.001, 5.0))


@pytest.mark.parametrize(
    "failure", [responds(429, **{"Retry-After": "0"}), responds(500), responds(503), closes_connection]
)
async def test_a_transient_error_is_retried(
    fake_server: tuple[FakeApiServer, KubernetesCluster], failure: Answer
) -> None:
    server, cluster = fake_server
    server.answers = [failure, failure, responds(200, {"metadata": {"name": "thumbnails"}})]
    assert await cluster.deployment(KEY) == {"metadata": {"name": "thumbnails"}}
    assert len(server.requests) == 3


async def test_a_lasting_error_becomes_a_fault_after_four_attempts(
    fake_server: tuple[FakeApiServer, KubernetesCluster],
) -> None:
    server, cluster = fake_server
    server.answers = [responds(503)]
    with pytest.raises(Fault) as raised:
        await cluster.deployment(KEY)
    assert (raised.value.reason, raised.value.terminal) == (Reason.API_UNAVAILABLE, False)
    assert raised.value.message == "Kubernetes: cannot read Deployment media/thumbnails: the reason."
    assert len(server.requests) == 4


async def test_a_request_with_a_long_retry_after_is_not_repeated(
    fake_server: tuple[FakeApiServer, KubernetesCluster],
) -> None:
    server, cluster = fake_server
    server.answers = [responds(429, **{"Retry-After": "60"})]
    with pytest.raises(Fault):
        await cluster.deployment(KEY)
    assert len(server.requests) == 1


async def test_a_conflict_is_not_retried(fake_server: tuple[FakeApiServer, KubernetesCluster]) -> None:
    server, cluster = fake_server
    server.answers = [responds(409)]
    with pytest.raises(Conflict):
        await cluster.scale(KEY, replicas=1, taskqueue=KEY.name, generation=1)
    assert len(server.requests) == 1


async def test_a_request_without_an_answer_times_out(
    fake_server: tuple[FakeApiServer, KubernetesCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cluster = fake_server
    never_set = asyncio.Event()

    async def no_answer(_: web.Request) -> web.StreamResponse:
        await never_set.wait()
        return web.Response()

    server.answers = [no_answer]
    monkeypatch.setattr(client, "REQUEST_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(Fault, match=r"no answer within 0\.2 s"):
        await cluster.deployment(KEY)


async def test_an_event_whose_first_answer_was_lost_is_posted_once(
    fake_server: tuple[FakeApiServer, KubernetesCluster],
) -> None:
    server, cluster = fake_server
    names = []

    def keeps(then: Answer) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            names.append((await request.json())["metadata"]["name"])
            return await then(request)

        return answer

    server.answers = [keeps(closes_connection), keeps(responds(409))]
    regarding = {"apiVersion": "v1", "kind": "Pod", "namespace": "media", "name": "thumbnails", "uid": "u"}
    await cluster.event(regarding, reason="Ready", message="All is well.", warning=False)
    assert len(names) == 2
    assert len(set(names)) == 1


async def test_a_list_whose_continue_token_expires_is_read_in_one_page(
    fake_server: tuple[FakeApiServer, KubernetesCluster],
) -> None:
    server, cluster = fake_server
    first = {"items": [{"n": 1}], "metadata": {"continue": "more"}}
    whole = {"items": [{"n": 1}, {"n": 2}], "metadata": {}}
    server.answers = [responds(200, first), responds(410), responds(200, whole)]
    limit = str(LIST_PAGE_OBJECTS)
    assert await cluster.list_pods() == whole["items"]
    assert [request.query.get("limit") for request in server.requests] == [limit, limit, "0"]


@pytest.mark.parametrize(
    "answer",
    [
        responds_with_text(200, '{"data": {"password": "czNjcjN0'),
        responds_with_text(500, "s3cr3t czNjcjN0"),
        responds(422, {"message": "s3cr3t czNjcjN0"}),
    ],
    ids=["cut short", "no JSON", "a message"],
)
async def test_an_answer_about_a_secret_is_never_quoted(
    fake_server: tuple[FakeApiServer, KubernetesCluster], answer: Answer
) -> None:
    server, cluster = fake_server
    server.answers = [answer]
    with pytest.raises(Fault) as raised:
        await cluster.secret(Key("media", "rabbitmq"))
    error: BaseException | None = raised.value
    while error is not None:
        for text in (str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))):
            assert "s3cr3t" not in text
            assert "czNjcjN0" not in text
        error = error.__context__


async def test_a_missing_configuration_for_the_api_server_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("none") / "config"))
    with pytest.raises(Fault, match="set KUBECONFIG"):
        await client.connect()
