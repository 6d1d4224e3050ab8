"""Benchmarks on a real cluster: one by name, or all, one after the other."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import idle, wake
from tests.bench.result import Result
from tests.bench.setting import Setting, setting
from tests.cluster.prerequisites import MissingError
from tests.cluster.progress import step

BENCHMARKS: Mapping[str, Callable[[Setting], Coroutine[None, None, Result]]] = {"idle": idle.run, "wake": wake.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--name", choices=BENCHMARKS, help="only this one")
    parser.add_argument("--json", type=Path, help="a file for the figures: an object, or a list of them without --name")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with setting() as on:
            documents = [_measure(name, on) for name in ([asked.name] if asked.name else BENCHMARKS)]
    except KeyboardInterrupt:
        return 130
    except MissingError as missing:
        print(missing, file=sys.stderr)
        return 1
    if asked.json:
        asked.json.write_text(json.dumps(documents[0] if asked.name else documents, indent=2) + "\n")
    return 0


def _measure(name: str, on: Setting) -> dict[str, Any]:
    step(f"benchmark {name}")
    document = asyncio.run(BENCHMARKS[name](on)).document(name, on.commit)
    table = Table("figure", title=name)
    table.add_column("value", justify="right")
    for figure, value in document["figures"].items():
        table.add_row(figure, f"{value:,.3f}")
    Console().print(table)
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"samples {document['samples']}, cores {document['cores']}, load {load}, commit {document['commit']}")
    return document


if __name__ == "__main__":
    sys.exit(main())
