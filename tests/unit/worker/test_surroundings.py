"""The options of @task are middleware in a fixed order; each extra is imported only when a task asks for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskqueue_worker import Call, Proceed
from taskqueue_worker.extras import MissingExtraError
from taskqueue_worker.rates import LocalRate
from taskqueue_worker.stores import PostgresStore, RedisStore
from taskqueue_worker.tasks import Registry


async def first(_: Call, proceed: Proceed) -> object:
    return await proceed()


async def second(_: Call, proceed: Proceed) -> object:
    return await proceed()


async def third(_: Call, proceed: Proceed) -> object:
    return await proceed()


def test_the_order_of_the_options_is_fixed() -> None:
    registry = Registry()

    @registry.task("t", around=[third], rate="10/s", results=second, idempotent=first)
    def handler(_: object) -> None: ...

    (declared,) = registry
    assert [declared.around[0], declared.around[1], declared.around[3]] == [first, second, third]
    assert isinstance(declared.around[2], LocalRate)


@pytest.mark.parametrize(
    ("store", "library", "extra"), [(RedisStore, "redis", "redis"), (PostgresStore, "asyncpg", "postgres")]
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, store: type[RedisStore | PostgresStore], library: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'taskqueue-worker\[{extra}\]'"):
        store(f"{library}://localhost")


def test_the_packages_are_imported_without_their_extras() -> None:
    modules = "taskqueue_worker.idempotency, taskqueue_worker.rates, taskqueue_worker.results"
    program = f"import {modules}, sys; print([name for name in ('redis', 'asyncpg') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3] / "worker-image/src")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
