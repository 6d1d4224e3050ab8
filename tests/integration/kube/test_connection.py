"""Trouble on the way to the API server. A stand-in answers here: a real one cannot be told to fail in these ways."""

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
from taskqueue_operator.resource.faults import Conflict, Fault, Reason
from taskqueue_operator.resource.names import Key
from tests.cluster import ports

KEY = Key("media", "thumbnails")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StandIn:
    """Gives its answers in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answers[min(len(self.asked), len(self.answers)) - 1](request)


def says(status: int, body: object = None, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body or {"kind": "Status", "message": "so it is"}, status=status, headers=headers)

    return answer


def says_text(status: int, text: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.fixture
async def stand_in() -> AsyncIterator[tuple[StandIn, KubernetesCluster]]:
    server, application = StandIn(), web.Application()
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


@pytest.mark.parametrize("trouble", [says(429, **{"Retry-After": "0"}), says(500), says(503), hangs_up])
async def test_trouble_of_the_moment_is_got_over(stand_in: tuple[StandIn, KubernetesCluster], trouble: Answer) -> None:
    server, cluster = stand_in
    server.answers = [trouble, trouble, says(200, {"metadata": {"name": "thumbnails"}})]
    assert await cluster.deployment(KEY) == {"metadata": {"name": "thumbnails"}}
    assert len(server.asked) == 3


async def test_trouble_that_stays_is_given_up_and_told(stand_in: tuple[StandIn, KubernetesCluster]) -> None:
    server, cluster = stand_in
    server.answers = [says(503)]
    with pytest.raises(Fault) as told:
        await cluster.deployment(KEY)
    assert (told.value.reason, told.value.terminal) == (Reason.API_UNAVAILABLE, False)
    assert told.value.message == "Kubernetes: cannot read Deployment media/thumbnails: so it is."
    assert len(server.asked) == 4


async def test_a_server_that_asks_for_a_long_pause_is_left_alone(stand_in: tuple[StandIn, KubernetesCluster]) -> None:
    server, cluster = stand_in
    server.answers = [says(429, **{"Retry-After": "60"})]
    with pytest.raises(Fault):
        await cluster.deployment(KEY)
    assert len(server.asked) == 1


async def test_a_refusal_is_not_asked_for_again(stand_in: tuple[StandIn, KubernetesCluster]) -> None:
    server, cluster = stand_in
    server.answers = [says(409)]
    with pytest.raises(Conflict):
        await cluster.scale(KEY, replicas=1, generation=1)
    assert len(server.asked) == 1


async def test_a_server_that_never_answers_is_given_up(
    stand_in: tuple[StandIn, KubernetesCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, cluster = stand_in
    asked_for_ever = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        await asked_for_ever.wait()
        return web.Response()

    server.answers = [never]
    monkeypatch.setattr(client, "REQUEST_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(Fault, match=r"no answer within 0\.2 s"):
        await cluster.deployment(KEY)


async def test_an_event_whose_first_answer_was_lost_is_posted_once(
    stand_in: tuple[StandIn, KubernetesCluster],
) -> None:
    server, cluster = stand_in
    names = []

    def keeps(then: Answer) -> Answer:
        async def answer(request: web.Request) -> web.StreamResponse:
            names.append((await request.json())["metadata"]["name"])
            return await then(request)

        return answer

    server.answers = [keeps(hangs_up), keeps(says(409))]
    regarding = {"apiVersion": "v1", "kind": "Pod", "namespace": "media", "name": "thumbnails", "uid": "u"}
    await cluster.event(regarding, reason="Ready", message="All is well.", warning=False)
    assert len(names) == 2
    assert len(set(names)) == 1


async def test_a_list_whose_pages_expire_is_read_in_one(stand_in: tuple[StandIn, KubernetesCluster]) -> None:
    server, cluster = stand_in
    first = {"items": [{"n": 1}], "metadata": {"continue": "more"}}
    whole = {"items": [{"n": 1}, {"n": 2}], "metadata": {}}
    server.answers = [says(200, first), says(410), says(200, whole)]
    assert await cluster.list_pods() == whole["items"]
    assert [request.query.get("limit") for request in server.asked] == ["500", "500", "0"]


@pytest.mark.parametrize(
    "answer",
    [
        says_text(200, '{"data": {"password": "czNjcjN0'),
        says_text(500, "s3cr3t czNjcjN0"),
        says(422, {"message": "s3cr3t czNjcjN0"}),
    ],
    ids=["cut short", "no JSON", "a message"],
)
async def test_an_answer_about_a_secret_is_never_quoted(
    stand_in: tuple[StandIn, KubernetesCluster], answer: Answer
) -> None:
    server, cluster = stand_in
    server.answers = [answer]
    with pytest.raises(Fault) as told:
        await cluster.secret(Key("media", "rabbitmq"))
    error: BaseException | None = told.value
    while error is not None:
        for text in (str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))):
            assert "s3cr3t" not in text
            assert "czNjcjN0" not in text
        error = error.__context__


async def test_no_way_to_the_api_server_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path_factory.mktemp("none") / "config"))
    with pytest.raises(Fault, match="set KUBECONFIG"):
        await client.connect()
