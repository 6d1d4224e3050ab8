"""The runtimes besides Celery: what scaling does to their tasks, with the adapter and as with an HPA."""

from typing import Final

from tests.bench import adapters
from tests.bench.context import Context
from tests.bench.result import Result, Target
from tests.bench.runtime import SLOTS, Runtime, Setting
from tests.bench.workload import Rhythm
from tests.e2e.application import NAME, TaskMessage
from tests.integration.adapters.running_application import packages

TASKS: Final = 1000
PERIOD_SECONDS: Final = 24.0
"""Between bursts: a rush takes some 8 s, and the operator uses the highest of its readings for 12 s more."""
RHYTHM: Final = Rhythm(84, PERIOD_SECONDS, tail=adapters.TAIL)
PREFETCH: Final = 10
"""The default of taskiq."""
PREFETCHING: Final = Setting("late", {}, PREFETCH, prefetched=PREFETCH - SLOTS, has_control=True)
NOT_PREFETCHING: Final = Setting("late", {}, SLOTS, prefetched=0, has_control=True)
"""FastStream begins every message that arrives."""


def taskiq(slots: int) -> tuple[str, ...]:
    """Return the arguments of taskiq for a worker that runs so many tasks at once."""
    return ("worker", "audited:broker", "--workers", "1", "--max-async-tasks", str(slots))


def dramatiq(slots: int) -> tuple[str, ...]:
    """Return the arguments of dramatiq for a worker that runs so many tasks at once."""
    return ("--processes", "1", "--threads", str(slots), "audited")


def by_hand(identity: str, seconds: float, gate: str | None = None) -> TaskMessage:
    """Build the message of a runtime without a message format of its own."""
    del gate
    return TaskMessage({"task": identity, "seconds": seconds}, {})


def _taskiq(identity: str, seconds: float, gate: str | None = None) -> TaskMessage:
    arguments = by_hand(identity, seconds, gate).payload
    body = {"task_id": identity, "task_name": "audited", "labels": {}, "args": [], "kwargs": arguments}
    return TaskMessage(body, {})


def _dramatiq(identity: str, seconds: float, gate: str | None = None) -> TaskMessage:
    arguments = by_hand(identity, seconds, gate).payload
    message = {"message_id": identity, "message_timestamp": 0, "queue_name": NAME, "actor_name": "audited"}
    return TaskMessage({**message, "args": [], "kwargs": arguments, "options": {}}, {})


RUNTIMES: Final = (
    Runtime(
        name="dramatiq",
        module="dramatiq_tasks.py",
        plain=("-m", "dramatiq", *dramatiq(SLOTS)),
        adapted=("-m", "taskqueue_drain.dramatiq", *dramatiq(SLOTS)),
        message=_dramatiq,
        packages=lambda: packages("dramatiq-2.2"),
        settings=[PREFETCHING._replace(variables={"dramatiq_queue_prefetch": str(PREFETCH)})],
    ),
    Runtime(
        name="pika",
        module="pika_tasks.py",
        plain=("audited.py", "plain"),
        adapted=("audited.py",),
        message=by_hand,
        packages=lambda: packages("pika-1.4"),
        settings=[PREFETCHING],
    ),
    Runtime(
        name="taskiq",
        module="taskiq_tasks.py",
        plain=("-m", "taskiq", *taskiq(SLOTS)),
        adapted=("-m", "taskqueue_drain.taskiq", *taskiq(SLOTS)),
        message=_taskiq,
        packages=lambda: packages("taskiq-0.12"),
        settings=[PREFETCHING],
    ),
    Runtime(
        name="faststream",
        module="faststream_tasks.py",
        plain=("-m", "faststream", "run", "audited:app"),
        adapted=("-m", "taskqueue_drain.faststream", "run", "audited:app"),
        message=by_hand,
        packages=lambda: packages("faststream-0.7"),
        settings=[NOT_PREFETCHING],
    ),
)


PREFIXES: Final = {f"{runtime.name}_": runtime for runtime in RUNTIMES}


async def run(context: Context) -> Result:
    """Measure all runtimes side by side; the size sets the number of tasks of each."""
    tasks = TASKS * context.size // 1000
    figures = await adapters.measure(context.broker(), PREFIXES, RHYTHM, tasks=tasks, size=context.size)
    samples = sum(int(figures[f"{prefix}tasks"]) for prefix in PREFIXES)
    return Result(figures, samples, {name: target for name, target in _targets().items() if name in figures})


def _targets() -> dict[str, Target]:
    targets = {"tasks": Target(">=", TASKS), **adapters.TARGETS}
    of_runtimes = {prefix + name: target for prefix in PREFIXES for name, target in targets.items()}
    return of_runtimes | adapters.OPERATOR_TARGETS
