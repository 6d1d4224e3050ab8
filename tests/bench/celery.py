"""Unmodified Celery prefork workers: what scaling does to their tasks, with the adapter and as with an HPA."""

from typing import Final

from tests.bench import adapters
from tests.bench.context import Context
from tests.bench.result import Result, Target
from tests.bench.runtime import SLOTS, Runtime, Setting
from tests.bench.workload import Rhythm
from tests.e2e.application import celery_message
from tests.integration.celery import running_celery

TASKS_PER_SIZE: Final = 10
PERIOD_SECONDS: Final = 22.0
"""Between bursts: a rush takes some 8 s, and the operator uses the highest of its readings for 12 s more."""
RHYTHM: Final = Rhythm(42, PERIOD_SECONDS, tail=adapters.TAIL)
TARGETS: Final = {
    "tasks": Target(">=", 10_000),
    "scale_ins": Target(">=", 200),
    **adapters.TARGETS,
    **adapters.OPERATOR_TARGETS,
}
COMMAND: Final = ("-m", "celery", "-A", "audited", "worker")


def _setting(acks: str, multiplier: int) -> Setting:
    variables = {"ACKS": acks, "PREFETCH_MULTIPLIER": str(multiplier)}
    # With early acknowledgement, the running task is no longer one of those that the broker counts.
    prefetched = SLOTS * (multiplier if acks == "early" else multiplier - 1)
    return Setting(f"{acks}_{multiplier}", variables, SLOTS, prefetched, has_control=multiplier > 1)


CELERY: Final = Runtime(
    name="celery",
    module="celery_tasks.py",
    plain=COMMAND,
    adapted=(*COMMAND, "-I", "taskqueue_drain.celery"),
    message=celery_message,
    packages=lambda: running_celery.packages("5.7"),
    settings=[_setting(acks, multiplier) for acks in ("early", "late") for multiplier in (1, 4)],
)


async def run(context: Context) -> Result:
    """Measure early and late acknowledgement with a prefetch multiplier of 1 and of 4; the size sets their number."""
    tasks = context.size * TASKS_PER_SIZE
    figures = await adapters.measure(context.broker(), {"": CELERY}, RHYTHM, tasks=tasks, size=context.size)
    return Result(figures, samples=int(figures["tasks"]), targets=TARGETS)
