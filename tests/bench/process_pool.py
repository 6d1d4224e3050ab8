"""Tasks that compute: in children of `taskqueue_worker`, and in processes of Celery's prefork pool."""

import itertools
import random
import statistics
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Final, NamedTuple

from tests.bench import process_tree
from tests.bench.celery import CELERY
from tests.bench.context import Context
from tests.bench.local_queue import LocalQueue, local_queue
from tests.bench.polling import eventually
from tests.bench.result import Result, Target
from tests.bench.runtime import Runtime, Setting
from tests.bench.worker_process import WorkerProcess, worker_process
from tests.cluster.installation import ROOT
from tests.e2e.application import TaskMessage

ROUNDS: Final = 5
PREFETCH: Final = 8
WARM_UP_TASKS: Final = 100
POLL_SECONDS: Final = 0.02
TIMEOUT_SECONDS: Final = 300


class Work(NamedTuple):
    """How much a task computes, and how many there are for each size."""

    name: str
    steps: int
    tasks_per_size: float


class Sample(NamedTuple):
    """One run of a worker."""

    tasks_per_second: float
    cpu_us: float
    memory_mib: float


WORKS: Final = (Work("1ms", 15_000, 4), Work("25ms", 400_000, 0.4))
"""The names say how long one task takes about."""


def _message(identity: str, seconds: float, gate: str | None = None) -> TaskMessage:
    del seconds, gate
    return TaskMessage({"task": identity}, {})


RUNTIMES: Final = (
    Runtime("ours", "worker_cpu_tasks.py", ("-m", "taskqueue_worker"), (), _message, lambda: ROOT, ()),
    replace(CELERY, module="celery_cpu_tasks.py"),
)
TARGETS: Final = {f"throughput_ratio_{work.name}": Target(">=", 1) for work in WORKS}


async def run(context: Context) -> Result:
    """Measure both with each kind of work, in random order; the ratios are medians over the rounds."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    with TemporaryDirectory() as temporary:
        async with local_queue(Path(temporary)) as queue:
            for work, _ in itertools.product(WORKS, range(ROUNDS)):
                for runtime in random.sample(RUNTIMES, 2):
                    directory = Path(mkdtemp(dir=temporary))
                    sample = await _measure(queue, runtime, work, directory, round(work.tasks_per_size * context.size))
                    samples.setdefault((runtime.name, work.name), []).append(sample)
    return Result(_figures(samples), samples=ROUNDS, targets=TARGETS)


async def _measure(queue: LocalQueue, runtime: Runtime, work: Work, directory: Path, tasks: int) -> Sample:
    await queue.declare()
    await queue.publish(runtime, WARM_UP_TASKS + tasks, seconds=0)
    variables = {"STEPS": str(work.steps), "TASKQUEUE_MODULES": "audited"}
    setting = Setting("pool", variables, PREFETCH, prefetched=0, has_control=False)
    with worker_process(runtime, setting, queue.url, directory, adapted=False) as worker:
        return await _watch(queue, worker, tasks)


async def _watch(queue: LocalQueue, worker: WorkerProcess, tasks: int) -> Sample:
    """Measure from the end of the warm-up until no message is ready."""
    first: tuple[int, float, float] | None = None
    ready, at, cpu = await _look(queue, worker)

    async def is_empty() -> bool:
        nonlocal first, ready, at, cpu
        ready, at, cpu = await _look(queue, worker)
        if first is None and ready <= tasks:
            first = ready, at, cpu
        return not ready

    await eventually(is_empty, "the tasks are done", seconds=TIMEOUT_SECONDS, every=POLL_SECONDS)
    assert first is not None
    done = first[0]
    return Sample(done / (at - first[1]), (cpu - first[2]) / done * 1e6, process_tree.memory_mib(worker.pid))


async def _look(queue: LocalQueue, worker: WorkerProcess) -> tuple[int, float, float]:
    return await queue.ready(), time.monotonic(), process_tree.cpu_seconds(worker.pid)


def _figures(samples: dict[tuple[str, str], list[Sample]]) -> dict[str, float]:
    ratios = {
        f"throughput_ratio_{work.name}": statistics.median(
            ours.tasks_per_second / theirs.tasks_per_second
            for ours, theirs in zip(samples["ours", work.name], samples["celery", work.name], strict=True)
        )
        for work in WORKS
    }
    medians = {
        f"{runtime}_{work}_{field}": statistics.median(getattr(sample, field) for sample in found)
        for (runtime, work), found in samples.items()
        for field in Sample._fields
    }
    return {**ratios, **dict(sorted(medians.items()))}
