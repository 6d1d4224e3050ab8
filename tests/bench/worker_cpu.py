"""CPU that `taskqueue_worker` uses per task: of this tree, relative to a commit."""

import asyncio
import io
import os
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

import aio_pika

from taskqueue_worker import Publisher
from tests.bench.context import Context
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.cluster.broker import Broker
from tests.cluster.installation import ROOT

BASELINE: Final = "f2a9822"
"""The last commit in which handlers run on the event loop of the connection."""
SOURCE: Final = "worker-image/src"
WARM_UP_TASKS: Final = 300
ROUNDS: Final = 10
CONCURRENCIES: Final = (1, 10)
TIMEOUT_SECONDS: Final = 300
TARGETS: Final = {"worker_cpu_ratio": Target("<=", 1.1)}


async def run(context: Context) -> Result:
    """Measure with a broker of its own; the cluster is not needed."""
    return await measure(BASELINE, tasks=3 * context.size)


async def measure(commit: str, *, tasks: int) -> Result:
    """Run no-op tasks with this tree and with `commit`, alternately; the figures are medians of all rounds.

    The ratio is the worst over the concurrencies.
    """
    with TemporaryDirectory() as temporary, Broker.start(Path(temporary, "broker")) as broker:
        trees = {"tree": ROOT / SOURCE, "baseline": _checkout(commit, Path(temporary, "baseline")) / SOURCE}
        samples: dict[tuple[str, int], list[float]] = {}
        for turn, concurrency in product(range(ROUNDS), CONCURRENCIES):
            for name in sorted(trees, reverse=bool(turn % 2)):  # neither is always the first
                seconds = await _cpu_seconds_per_task(broker, trees[name], Path(temporary), concurrency, tasks)
                samples.setdefault((name, concurrency), []).append(seconds)
    medians = {key: statistics.median(values) for key, values in samples.items()}
    figures = {f"{name}_c{concurrency}_us": seconds * 1e6 for (name, concurrency), seconds in medians.items()}
    ratios = {f"ratio_c{c}": medians["tree", c] / medians["baseline", c] for c in CONCURRENCIES}
    return Result({"worker_cpu_ratio": max(ratios.values()), **ratios, **figures}, samples=ROUNDS, targets=TARGETS)


def _checkout(commit: str, directory: Path) -> Path:
    archive = subprocess.run(["git", "archive", commit, SOURCE], cwd=ROOT, capture_output=True, check=True, timeout=60)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
    return directory


async def _cpu_seconds_per_task(broker: Broker, tree: Path, directory: Path, concurrency: int, tasks: int) -> float:
    queue, marks = f"noop-{uuid4().hex[:8]}", directory / uuid4().hex
    await _fill(broker, queue, ["noop"] * WARM_UP_TASKS + ["mark"] + ["noop"] * tasks + ["mark"])

    async def is_done() -> bool:
        return marks.exists() and len(marks.read_text().splitlines()) > 1

    settings = {"QUEUES": queue, "CONCURRENCY": str(concurrency), "MODULES": "noop_tasks", "HTTP_PORT": "0"}
    environment = {f"TASKQUEUE_{name}": value for name, value in settings.items()}
    environment |= {"RABBITMQ_URL": broker.url, "MARKS": str(marks), "PATH": os.environ["PATH"]}
    with _worker(tree, environment):
        await eventually(is_done, "the tasks are done", seconds=TIMEOUT_SECONDS, every=0.1)
    first, last = map(float, marks.read_text().splitlines())
    return (last - first) / tasks


async def _fill(broker: Broker, queue: str, types: list[str]) -> None:
    connection = await aio_pika.connect(broker.url)
    async with connection, Publisher(broker.url) as publisher:
        channel = await connection.channel()
        await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
        for start in range(0, len(types), 100):
            await asyncio.gather(*(publisher.publish("", queue, {}, type=name) for name in types[start : start + 100]))


@contextmanager
def _worker(tree: Path, environment: dict[str, str]) -> Iterator[None]:
    path = os.pathsep.join([str(tree), str(Path(__file__).parent)])
    worker = subprocess.Popen(
        [sys.executable, "-m", "taskqueue_worker"], env=environment | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(30)
