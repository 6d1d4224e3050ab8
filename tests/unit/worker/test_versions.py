"""A handler takes one version of the payloads of a task type."""

import pytest

from taskqueue_worker.run_outcome import Status
from taskqueue_worker.tasks import Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import delivery, runner_of

pytestmark = pytest.mark.looptime


@pytest.fixture
def ran() -> list[int]:
    return []


@pytest.fixture
def registry(ran: list[int]) -> Registry:
    registry = Registry()

    @registry.task("t")
    async def first(_: object) -> None:
        ran.append(1)

    @registry.task("t", version=3)
    async def third(_: object) -> None:
        ran.append(3)

    return registry


@pytest.mark.parametrize(("headers", "version"), [({}, 1), ({"x-version": 1}, 1), ({"x-version": 3}, 3)])
async def test_the_handler_of_the_version_runs(
    registry: Registry, ran: list[int], headers: dict[str, object], version: int
) -> None:
    assert (await runner_of(registry).run(delivery(headers=headers))).status is Status.DONE
    assert ran == [version]


async def test_a_version_without_a_handler_is_refused(registry: Registry, ran: list[int]) -> None:
    outcome = await runner_of(registry).run(delivery(headers={"x-version": 2}))
    assert (outcome.status, ran) == (Status.UNKNOWN_VERSION, [])
    assert outcome.failure is not None
    assert_approved("worker.unknown_version", outcome.failure.text)


@pytest.mark.parametrize("version", [0, -1, True, "1", 2**31, b"\xff", None, {"a": 1}, 1.0])
async def test_a_version_that_is_no_version_is_an_invalid_payload(
    registry: Registry, ran: list[int], version: object
) -> None:
    outcome = await runner_of(registry).run(delivery(headers={"x-version": version}))
    assert (outcome.status, ran) == (Status.INVALID_PAYLOAD, [])


async def test_the_attempts_are_those_of_the_handler_of_the_version(registry: Registry) -> None:
    runner = runner_of(registry)
    assert [runner.attempts_of(delivery(headers={"x-version": version})) for version in (1, 2, "x")] == [None] * 3


@pytest.mark.parametrize("version", [0, -1, 2**31, 1.5, "2", True])
def test_a_handler_needs_a_version(version: int) -> None:
    with pytest.raises(ValueError, match="version="):

        @Registry().task("t", version=version)
        def handler(_: object) -> None: ...


def test_two_handlers_of_a_version_are_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="two handlers"):

        @registry.task("t", version=3)
        def handler(_: object) -> None: ...
