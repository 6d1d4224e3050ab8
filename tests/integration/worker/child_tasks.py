"""Tasks for children of a worker: what user code does to its process."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from taskqueue_worker import Call, Context, Proceed, task

IMPORTED_BY = os.getpid()
MIB = 1024 * 1024
kept: list[bytearray] = []


class TwoArgumentsError(Exception):
    """Can be pickled, and not read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def announce(payload: dict[str, Any]) -> None:
    """Write the number of this process to the file that the payload names."""
    if "pid" in payload:
        with Path(payload["pid"]).open("a") as file:
            file.write(f"{os.getpid()}\n")


def wait_for_gate(payload: dict[str, Any]) -> None:
    while "gate" in payload and not Path(payload["gate"]).exists():
        time.sleep(0.01)


@task("child.who", pool="process")
def who(payload: object, context: Context) -> dict[str, object]:
    return {
        "payload": payload,
        "pid": os.getpid(),
        "imported_by": IMPORTED_BY,
        "task_id": context.task_id,
        "type": context.type,
        "deadline": context.deadline,
        "draining": context.draining.is_set(),
        "headers": context.headers,
    }


@task("child.work", pool="process")
def work(payload: dict[str, Any], context: Context) -> dict[str, object]:
    announce(payload)
    wait_for_gate(payload)
    return {"n": payload.get("n"), "draining": context.draining.is_set()}


@task("child.compute", pool="process")
def compute(payload: dict[str, Any]) -> None:
    """Compute without end, beside a process of its own."""
    own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(payload["pid"]).write_text(f"{os.getpid()} {own.pid}\n")
    while True:
        sum(range(100_000))


@task("child.end", pool="process")
def end(payload: dict[str, Any]) -> None:
    announce(payload)
    wait_for_gate(payload)
    match payload["how"]:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "sys.exit":
            sys.exit(4)
        case "raise":
            raise LookupError("no such image")
        case "two arguments":
            raise TwoArgumentsError("one", "two")
        case name:
            os.kill(os.getpid(), signal.Signals[name])


@task("child.allocate", pool="process")
def allocate(payload: dict[str, Any]) -> int:
    announce(payload)
    data = bytearray(payload["mib"] * MIB)
    data[:: os.sysconf("SC_PAGE_SIZE")] = bytes(len(range(0, len(data), os.sysconf("SC_PAGE_SIZE"))))
    if payload.get("keep"):
        kept.append(data)
    wait_for_gate(payload)
    return os.getpid()


@task("child.answer", pool="process")
def answer(payload: dict[str, Any]) -> bytes:
    return bytes(payload["mib"] * MIB)


async def noted(_: Call, proceed: Proceed) -> None:
    """Write to the ledger what the handler returns or raises."""
    try:
        line = f"returned {await proceed()}"
    except Exception as error:
        line = f"raised {type(error).__name__}"
        raise
    finally:
        with Path(os.environ["LEDGER"]).open("a") as ledger:  # noqa: ASYNC230 - a short line
            ledger.write(line + "\n")


@task("child.surrounded", pool="process", around=[noted])
def surrounded(payload: dict[str, Any]) -> object:
    if "how" in payload:
        end(payload)
    return payload["n"]
