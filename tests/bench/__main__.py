"""Benchmarks on a real cluster: one by name, or all, one after the other."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import (
    celery,
    declare,
    drain,
    drift,
    fairness,
    faults,
    grow,
    harm,
    idle,
    lag,
    lateness,
    migrate,
    neighbour,
    plain,
    process_pool,
    redrive,
    restart,
    retry,
    runtimes,
    soak,
    takeover,
    wake,
    worker,
    worker_cpu,
)
from tests.bench.context import Context
from tests.bench.result import Result
from tests.cluster.prerequisites import MissingError
from tests.cluster.progress import step

BENCHMARKS: Mapping[str, Callable[[Context], Coroutine[None, None, Result]]] = {
    "worker_cpu": worker_cpu.run,
    "pool": process_pool.run,
    "worker": worker.run,
    "soak": soak.run,
    "redrive": redrive.run,
    "retry": retry.run,
    "fairness": fairness.run,
    "migrate": migrate.run,
    "faults": faults.run,
    "drain": drain.run,
    "harm": harm.run,
    "plain": plain.run,
    "celery": celery.run,
    "runtimes": runtimes.run,
    "neighbour": neighbour.run,
    "declare": declare.run,
    "drift": drift.run,
    "idle": idle.run,
    "lag": lag.run,
    "wake": wake.run,
    "grow": grow.run,
    "restart": restart.run,
    "lateness": lateness.run,
    "takeover": takeover.run,
}
"""First the benchmarks without a fleet of TaskQueues; then in the order that changes the fleet least."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--name", choices=BENCHMARKS, help="only this one")
    parser.add_argument("--json", type=Path, help="a file for the figures: an object, or a list of them without --name")
    parser.add_argument(
        "--size", type=int, default=1000, help="TaskQueues, tasks, or a tenth of them; the targets are for %(default)s"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    documents: list[dict[str, Any]] = []
    try:
        asyncio.run(_measure([options.name] if options.name else [*BENCHMARKS], options.size, documents))
    except KeyboardInterrupt:
        return 130
    except MissingError as missing:
        print(missing, file=sys.stderr)
        return 1
    finally:  # a failure keeps the figures of earlier benchmarks
        if options.json and documents:
            options.json.write_text(json.dumps(documents[0] if options.name else documents, indent=2) + "\n")
    return 0


async def _measure(names: list[str], size: int, documents: list[dict[str, Any]]) -> None:
    async with AsyncExitStack() as stack:
        context = Context(stack, size=size)
        for name in names:
            step(f"benchmark {name}")
            result = await BENCHMARKS[name](context)
            documents.append(result.document(name, context.commit))
            _show(documents[-1])


def _show(document: dict[str, Any]) -> None:
    table = Table("figure", title=document["name"])
    for column in ("value", "target", "met"):
        table.add_column(column, justify="right")
    for figure, value in document["figures"].items():
        met = document["met"].get(figure)
        table.add_row(figure, f"{value:,.3f}", document["targets"].get(figure), _MET_TEXTS.get(met))
    Console().print(table)
    load = " ".join(map(str, document["load"]))
    print(f"samples {document['samples']}, cores {document['cores']}, load {load}, commit {document['commit']}")


_MET_TEXTS = {True: "yes", False: "no"}


if __name__ == "__main__":
    sys.exit(main())
