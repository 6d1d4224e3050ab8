"""What `taskqueue_worker` costs for a task that does nothing, beside bare aio-pika and other runtimes."""

import itertools
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tests.bench.celery import CELERY
from tests.bench.context import Context
from tests.bench.result import Result, Target
from tests.bench.runtime import Runtime
from tests.bench.runtimes import PREFIXES, by_hand, dramatiq, taskiq
from tests.bench.throughput import Sample, Throughput, throughput
from tests.cluster.installation import ROOT

TASKS_PER_SIZE: Final = 12
FEWEST_TASKS: Final = 600
"""Fewer are done between two looks at the queue."""
ROUNDS: Final = 3
PREFETCH: Final = 100
PREFETCHES: Final = (1, 10, 50)
AUTO: Final = "Auto"
QUEUE_TYPES: Final = ("classic", "quorum")
CONCURRENCIES: Final = (100, 1)
DRAMATIQ_THREADS: Final = 8
"""Its default."""
FEATURES: Final[Mapping[str, Mapping[str, str]]] = {
    "log": {"TASKQUEUE_LOG_LEVEL": "warning"},
    "metrics": {},
    "retries": {"TASKQUEUE_RETRY_INITIAL_SECONDS": "0"},
    "payload": {},
}
"""What can be taken away, and the variables that do; `worker_tasks.py` takes the others away."""
TARGETS: Final = {
    "ratio_to_bare_classic_c100": Target("<=", 1.3),
    "ratio_to_bare_quorum_c100": Target("<=", 1.3),
    "ratio_to_bare_quorum_c1": Target("<=", 1.5),
    "beats_dramatiq": Target("<=", 1),
    "import_s": Target("<=", 0.3),
}
BARE: Final = Runtime("bare", "bare_tasks.py", ("audited.py",), (), by_hand, lambda: ROOT, ())
OURS: Final = Runtime("ours", "worker_tasks.py", ("-m", "taskqueue_worker"), (), by_hand, lambda: ROOT, ())
EVERYTHING: Final = {"TASKQUEUE_MODULES": "audited", "TASKQUEUE_RETRY_INITIAL_SECONDS": "1"}
"""With retries, as the operator sets them; log, metrics, timeout and typed payload are on too."""


class Worker(NamedTuple):
    """A worker under test, on a queue of a type."""

    runtime: Runtime
    queue_type: str
    concurrency: int
    prefetch: int | str = PREFETCH
    without: str = ""

    @property
    def name(self) -> str:
        """What the names of its figures end with."""
        parts = [self.runtime.name, self.queue_type, f"c{self.concurrency}"]
        parts += [f"p{self.prefetch}".lower()] if self.prefetch != PREFETCH else []
        return "_".join([*parts, *([f"without_{self.without}"] if self.without else [])])

    @property
    def variables(self) -> Mapping[str, str]:
        """Its environment."""
        return {
            **EVERYTHING,
            "TASKQUEUE_CONCURRENCY": str(self.concurrency),
            "TASKQUEUE_PREFETCH": str(self.prefetch),
            "dramatiq_queue_prefetch": str(self.prefetch),
            "ACKS": "late",
            "PREFETCH_MULTIPLIER": str(self.prefetch),
            "WITHOUT": self.without,
            **FEATURES.get(self.without, {}),
        }


def _others(concurrency: int) -> list[Runtime]:
    """Return the other runtimes that run so many tasks at once. Celery has a process for each."""
    threads = min(concurrency, DRAMATIQ_THREADS)
    runtimes = [
        BARE,
        replace(PREFIXES["dramatiq_"], plain=("-m", "dramatiq", *dramatiq(threads))),
        replace(PREFIXES["taskiq_"], plain=("-m", "taskiq", *taskiq(concurrency))),
    ]
    # FastStream begins all that it prefetches.
    return [*runtimes, CELERY if concurrency == 1 else PREFIXES["faststream_"]]


WORKERS: Final = [
    *(
        Worker(runtime, queue_type, concurrency)
        for queue_type, concurrency in itertools.product(QUEUE_TYPES, CONCURRENCIES)
        for runtime in (OURS, *_others(concurrency))
    ),
    *(Worker(OURS, "quorum", 100, prefetch) for prefetch in PREFETCHES),
    # Auto prefetches from the concurrency to 50 messages.
    *(Worker(OURS, "quorum", 1, prefetch) for prefetch in (1, AUTO)),
    *(Worker(OURS, "quorum", 100, without=feature) for feature in FEATURES),
]


async def run(context: Context) -> Result:
    """Measure each worker once in each round, in random order, so that each round has a pair for each ratio."""
    samples: dict[str, list[Sample]] = {}
    with TemporaryDirectory() as temporary:
        async with throughput(Path(temporary)) as measured:
            for _ in range(ROUNDS):
                for worker in random.sample(WORKERS, len(WORKERS)):
                    samples.setdefault(worker.name, []).append(await _measure(measured, worker, context.size))
    return Result({**figures(samples), "import_s": import_seconds()}, samples=ROUNDS, targets=TARGETS)


def import_seconds() -> float:
    """Return the CPU seconds in which a new process imports all that a worker needs; the least of five."""
    code = "import time; t = time.process_time(); import taskqueue_worker.app; print(time.process_time() - t)"
    command, environment = (sys.executable, "-c", code), {"PYTHONPATH": str(ROOT / "worker-image/src")}
    runs = [subprocess.run(command, env=environment, capture_output=True, check=True, text=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs)


async def _measure(measured: Throughput, worker: Worker, size: int) -> Sample:
    tasks = max(FEWEST_TASKS, size * TASKS_PER_SIZE)
    return await measured.measure(worker.runtime, worker.variables, worker.queue_type, tasks)


def figures(samples: Mapping[str, list[Sample]]) -> dict[str, float]:
    """Return ratios of CPU, medians over the pairs of a round; then what each feature costs; then all medians."""
    cpu = {name: [sample.cpu_us for sample in found] for name, found in samples.items()}
    places = [f"{queue_type}_c{concurrency}" for queue_type in QUEUE_TYPES for concurrency in CONCURRENCIES]
    ratios = {
        f"ratio_to_{other}_{place}": _ratio(cpu[f"ours_{place}"], cpu[f"{other}_{place}"])
        for other in ("bare", "dramatiq")
        for place in places
    }
    beats = max(ratio for name, ratio in ratios.items() if "dramatiq" in name and name.endswith("c100"))
    costs = {
        f"cost_of_{feature}_us": _cost(cpu["ours_quorum_c100"], cpu[f"ours_quorum_c100_without_{feature}"])
        for feature in FEATURES
    }
    medians = {f"{name}_us": statistics.median(values) for name, values in cpu.items()}
    speeds = {
        f"{name}_tasks_per_s": statistics.median(sample.tasks_per_second for sample in found)
        for name, found in samples.items()
    }
    return {**ratios, "beats_dramatiq": beats, **costs, **medians, **speeds}


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def _cost(with_all: list[float], without: list[float]) -> float:
    return statistics.median(one - other for one, other in zip(with_all, without, strict=True))
