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

from tests.bench import drain, faults, grow, harm, idle, lateness, plain, restart, takeover, wake
from tests.bench.result import Result
from tests.bench.setting import Setting
from tests.cluster.prerequisites import MissingError
from tests.cluster.progress import step

BENCHMARKS: Mapping[str, Callable[[Setting], Coroutine[None, None, Result]]] = {
    "faults": faults.run,
    "drain": drain.run,
    "harm": harm.run,
    "plain": plain.run,
    "idle": idle.run,
    "wake": wake.run,
    "grow": grow.run,
    "restart": restart.run,
    "lateness": lateness.run,
    "takeover": takeover.run,
}
"""First what needs no fleet of TaskQueues but quiet; then in the order in which those have to change the least."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--name", choices=BENCHMARKS, help="only this one")
    parser.add_argument("--json", type=Path, help="a file for the figures: an object, or a list of them without --name")
    parser.add_argument(
        "--size", type=int, default=1000, help="TaskQueues, tasks, or a tenth of them; the targets are for %(default)s"
    )
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    documents: list[dict[str, Any]] = []
    try:
        asyncio.run(_measure([asked.name] if asked.name else [*BENCHMARKS], asked.size, documents))
    except KeyboardInterrupt:
        return 130
    except MissingError as missing:
        print(missing, file=sys.stderr)
        return 1
    finally:  # half an hour of figures is not lost with the next ones
        if asked.json and documents:
            asked.json.write_text(json.dumps(documents[0] if asked.name else documents, indent=2) + "\n")
    return 0


async def _measure(names: list[str], size: int, documents: list[dict[str, Any]]) -> None:
    async with AsyncExitStack() as stack:
        setting = Setting(stack, size=size)
        for name in names:
            step(f"benchmark {name}")
            result = await BENCHMARKS[name](setting)
            documents.append(result.document(name, setting.commit))
            _show(documents[-1])


def _show(document: dict[str, Any]) -> None:
    table = Table("figure", title=document["name"])
    for column in ("value", "target", "met"):
        table.add_column(column, justify="right")
    for figure, value in document["figures"].items():
        met = document["met"].get(figure)
        table.add_row(figure, f"{value:,.3f}", document["targets"].get(figure), _ANSWERS.get(met))
    Console().print(table)
    load = " ".join(map(str, document["load"]))
    print(f"samples {document['samples']}, cores {document['cores']}, load {load}, commit {document['commit']}")


_ANSWERS = {True: "yes", False: "no"}


if __name__ == "__main__":
    sys.exit(main())
