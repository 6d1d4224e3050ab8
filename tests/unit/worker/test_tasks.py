"""The registry of handlers."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

import pytest
import structlog

from taskqueue_worker.tasks import Context, Pool, Registry
from tests.approved import assert_approved


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
async def context() -> Context:
    return Context(
        task_id="1",
        type="t",
        routing_key="k",
        headers={},
        redelivered=False,
        deadline=datetime.now(UTC),
        attempt=1,
        state=None,
        draining=asyncio.Event(),
        log=structlog.get_logger(),
    )


async def test_a_handler_receives_the_payload_and_optionally_the_context(registry: Registry) -> None:
    @registry.task("one")
    async def one(payload: int) -> None: ...

    @registry.task("two")
    def two(payload: int, context: Context) -> None: ...

    @registry.task("optional")
    def optional(payload: int, context: Context | None = None, **_: object) -> None: ...

    counts = {handler.type: 1 + handler.wants_context for handler in registry}
    assert counts == {"one": 1, "two": 2, "optional": 2}
    assert {handler.type for handler in registry if handler.is_coroutine} == {"one"}


def test_a_decorated_function_can_be_called_and_registered_again(registry: Registry) -> None:
    @registry.task("a")
    @registry.task("b")
    def double(payload: int) -> int:
        return 2 * payload

    assert double(2) == 4
    assert registry.get("a") is not None
    assert registry.get("b") is not None
    assert registry.get("c") is None


def test_a_second_handler_of_a_type_is_refused_and_the_error_names_both(registry: Registry) -> None:
    @registry.task("image.resize")
    def first(payload: object) -> None: ...

    def second(payload: object) -> None: ...

    with pytest.raises(ValueError, match=r"image\.resize.*first \(.*\.py:\d+\) and .*second \(.*\)"):
        registry.task("image.resize")(second)


def none_at_all() -> None: ...


def three(payload: int, context: Context, more: int) -> None: ...


def by_name(*, payload: int) -> None: ...


def one_by_name(payload: int, *, more: int) -> None: ...


@pytest.mark.parametrize("function", [none_at_all, three, by_name, one_by_name])
def test_a_handler_with_other_parameters_is_refused(registry: Registry, function: Callable[..., None]) -> None:
    with pytest.raises(TypeError) as error:
        registry.task("t")(function)
    assert_approved("worker.handler.parameters", "HANDLER" + str(error.value)[str(error.value).index(" must ") :])


def yielding(payload: int) -> Iterator[int]:
    yield payload


async def yielding_on_the_loop(payload: int) -> AsyncIterator[int]:
    yield payload


class Yielding:
    def __call__(self, payload: int) -> Iterator[int]:
        yield payload


def configured(size: int, payload: int) -> Iterator[int]:
    yield size * payload


@pytest.mark.parametrize("function", [yielding, yielding_on_the_loop, Yielding(), functools.partial(configured, 3)])
def test_a_generator_is_refused_as_a_handler(registry: Registry, function: Callable[..., object]) -> None:
    with pytest.raises(TypeError) as error:
        registry.task("t")(function)
    assert_approved("worker.handler.generator", "HANDLER" + str(error.value)[str(error.value).index(" must ") :])


def test_the_task_type_is_required(registry: Registry) -> None:
    def bare(payload: object) -> None: ...

    for type_ in (bare, ""):
        with pytest.raises(ValueError, match="@task") as error:
            registry.task(type_)  # type: ignore[arg-type]  # the mistake: @task without a type
        assert_approved("worker.task_without_type", str(error.value))


async def test_methods_partials_and_callable_objects_can_be_handlers(registry: Registry) -> None:
    class Resizer:
        async def __call__(self, payload: int) -> None: ...

        def method(self, payload: int, context: Context) -> None: ...

    async def configured(size: int, payload: int) -> None: ...

    registry.task("object")(Resizer())
    registry.task("method")(Resizer().method)
    registry.task("partial")(functools.partial(configured, 3))
    assert {handler.type: handler.is_coroutine for handler in registry} == {
        "object": True,
        "method": False,
        "partial": True,
    }
    assert not next(handler for handler in registry if handler.type == "partial").wants_context


@pytest.mark.parametrize("pool", ["async", "process", "thread"])
def test_the_pool_must_suit_the_function(registry: Registry, pool: Pool) -> None:
    def blocks(_: object) -> None: ...

    async def awaits(_: object) -> None: ...

    suited, unsuited = (awaits, blocks) if pool == "async" else (blocks, awaits)
    registry.task("suited", pool=pool)(suited)
    handler = registry.get("suited")
    assert handler is not None
    assert handler.in_child is (pool == "process")
    with pytest.raises(TypeError, match=f"pool='{pool}' needs a `(async )?def` function"):
        registry.task("unsuited", pool=pool)(unsuited)


def test_an_unknown_pool_is_refused(registry: Registry) -> None:
    def blocks(_: object) -> None: ...

    with pytest.raises(ValueError, match="pool='fork' must be one of 'async', 'thread', 'process'"):
        registry.task("t", pool="fork")(blocks)  # type: ignore[arg-type]  # what a type checker refuses too
