"""What a type checker says of tasks. `make check` runs mypy, which fails if one of these lines means anything else."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, assert_type

from taskqueue_worker import Call, Context, Middleware, Proceed, RetryRule
from taskqueue_worker.tasks import Registry

task = Registry().task


@dataclass
class Image:
    name: str


async def middleware(call: Call, proceed: Proceed) -> object:
    assert_type(call.context, Context)
    return await proceed()


class Logged:
    async def __call__(self, _: Call, proceed: Proceed) -> object:
        return await proceed()


logged: Middleware = Logged()


@task("a", timeout=5, retry=RetryRule(attempts=3, never=(ValueError,)), around=[middleware, logged])
async def resize(image: Image, context: Context) -> int:
    assert_type(context.attempt, int)
    assert_type(context.task_id, str | None)
    return len(image.name)


@task("b")
def scale(image: Image) -> str:
    return image.name


# The decorated function is what it was.
unchanged: Callable[[Image, Context], Coroutine[Any, Any, int]] = resize
assert_type(scale(Image("a")), str)
assert_type(scale(image=Image("a")), str)


@task("c")  # type: ignore[type-var]  # a third parameter
def third(payload: Image, context: Context, more: int) -> None: ...


@task("d")  # type: ignore[type-var]  # the second parameter is the context
def second(payload: Image, context: int) -> None: ...


@task("e")  # type: ignore[type-var]  # no parameter
def none() -> None: ...


@task("f", retry=5)  # type: ignore[arg-type]
def retry(payload: Image) -> None: ...


@task("g", around=[lambda proceed: proceed()])  # type: ignore[list-item]
def around(payload: Image) -> None: ...
