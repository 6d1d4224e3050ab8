"""The tasks of these tests. Each writes its steps to a ledger, and may wait at a gate: a file that the test creates."""

import asyncio
import ctypes
import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Counter

from taskqueue_worker import Context, Reject, Requeue, Retry, task

LEDGER = Path(os.environ["LEDGER"])
LINES = Counter("ledger_lines", "Lines of the ledger.")


def write(line: str) -> None:
    LINES.inc()
    with LEDGER.open("a") as ledger:
        ledger.write(line + "\n")


def is_open(payload: dict[str, Any]) -> bool:
    return "gate" not in payload or Path(payload["gate"]).exists()


@task("work")
async def work(payload: dict[str, Any], context: Context) -> None:
    write(f"started {payload['n']}")
    try:
        while not is_open(payload):  # noqa: ASYNC110 - another process opens the gate
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        write(f"cancelled {payload['n']}")
        raise
    write(f"finished {payload['n']} draining={context.draining.is_set()}")


@task("block")
def block(payload: dict[str, Any]) -> None:
    write(f"started {payload['n']}")
    while not is_open(payload):
        time.sleep(0.01)
    write(f"finished {payload['n']}")


@task("hold")
async def hold(payload: dict[str, Any]) -> None:
    """Hold the loop of the handlers."""
    block(payload)


@task("compute")
async def compute(payload: dict[str, Any]) -> None:
    """Hold the loop of the handlers and compute, so that all threads take turns with the interpreter."""
    write(f"started {payload['n']}")
    while not is_open(payload):
        sum(range(100_000))
    write(f"finished {payload['n']}")


@task("keep")
def keep(payload: dict[str, Any]) -> None:
    """Keep the interpreter, as C code does that does not release the GIL."""
    write(f"started {payload['n']}")
    ctypes.PyDLL(None).sleep(payload["seconds"])
    write(f"finished {payload['n']}")


@task("stubborn")
async def stubborn(payload: dict[str, Any]) -> None:
    write(f"started {payload['n']}")
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@task("exhausted")
def exhausted(_: dict[str, Any]) -> None:
    next(iter(()))


@task("loop")
async def loop(_: dict[str, Any]) -> None:
    write(type(asyncio.get_running_loop()).__module__)


@task("fail")
async def fail(payload: dict[str, Any]) -> None:
    raise LookupError(f"no such image: {payload['n']}")


@task("slow.fail")
async def slow_fail(payload: dict[str, Any], context: Context) -> None:
    """Fail once the worker leaves; at once in a later attempt."""
    write(f"started {payload['n']}")
    while not context.draining.is_set() and not context.redelivered:  # noqa: ASYNC110 - set by another thread
        await asyncio.sleep(0.01)
    raise LookupError


@task("kill")
async def kill(payload: dict[str, Any]) -> None:
    """End the process as the kernel does for lack of memory, once the gate is open."""
    write(f"started {payload['n']}")
    while not is_open(payload):  # noqa: ASYNC110 - another process opens the gate
        await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


@task("exit")
async def exit_process(_: dict[str, Any]) -> None:
    raise SystemExit(3)


@task("by.routing.key")
async def by_routing_key(payload: dict[str, Any]) -> None:
    write(f"routed {payload['n']}")


@task("kind")
async def kind(payload: object) -> None:
    write(f"kind {type(payload).__name__}")


@task("log")
async def log(_: object) -> None:
    logging.getLogger("application").info("logged")
    await asyncio.to_thread(logging.getLogger("application").debug, "logged in detail")


@task("log.thread")
def log_in_thread(_: object) -> None:
    structlog.get_logger().info("logged")


@task("retry")
async def retry(payload: dict[str, Any]) -> None:
    write(f"started {payload['n']}")
    raise Retry("busy", delay=0.5)


@task("reject")
async def reject(payload: dict[str, Any]) -> None:
    raise Reject(f"no such image: {payload['n']}")


@task("requeue")
async def requeue(payload: dict[str, Any], context: Context) -> None:
    """Requeue the task until the gate is open."""
    write(f"started {payload['n']} redelivered={context.redelivered}")
    if not is_open(payload):
        raise Requeue("busy")
