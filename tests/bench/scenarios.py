"""Task runs side by side under the same load, and their outcome."""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final, NamedTuple

from tests.bench.operator_process import OperatorProcess, operator_process
from tests.bench.polling import eventually
from tests.bench.task_run import TaskRun, Workers, task_run
from tests.bench.workload import Rhythm, workload
from tests.cluster.progress import step
from tests.e2e.cluster_broker import ClusterBroker

ROLLOUT_DELAY_SECONDS: Final = 8.0
"""From the start of a burst to a rollout: the workers are up and busy."""
TIMEOUT_SECONDS: Final = 60


class Scenario(NamedTuple):
    """Workers, and the rhythm of their tasks."""

    workers: Workers
    rhythm: Rhythm


class Outcome(NamedTuple):
    """The outcome of all runs.

    Attributes:
        accounts: The account of each scenario, by name.
        removed: How many pods the operator has removed, by state as it counts them.
    """

    accounts: Mapping[str, Mapping[str, int]]
    removed: Mapping[str, float]

    def total(self, names: Iterable[str]) -> dict[str, float]:
        """Add up the accounts of some scenarios."""
        accounts = [self.accounts[name] for name in names]
        return {figure: sum(account[figure] for account in accounts) for figure in accounts[0]}


async def run_scenarios(
    broker: ClusterBroker, scenarios: Mapping[str, Scenario], bursts: int, *, rollouts: int = 0
) -> Outcome:
    """Run each scenario with so many bursts and rollouts; rhythms that differ only in phase have the same tasks."""
    for library in ("aio_pika", "aiormq"):
        logging.getLogger(library).setLevel(logging.CRITICAL)  # connections that break and reconnect
    async with AsyncExitStack() as stack, operator_process(broker.cluster) as operator:
        runs = {
            name: await stack.enter_async_context(task_run(broker, name.replace("_", "-"), scenario.workers))
            for name, scenario in scenarios.items()
        }
        before = await _removed_pods(operator)
        seconds = max(scenario.rhythm.period for scenario in scenarios.values()) * bursts
        step(f"{bursts} bursts for each of {len(runs)} runs, {seconds / 60:.0f} minutes")
        async with asyncio.TaskGroup() as group:
            for name, run in runs.items():
                group.create_task(_run(run, scenarios[name].rhythm, bursts, rollouts))
        removed = {state: count - before.get(state, 0) for state, count in (await _removed_pods(operator)).items()}
        return Outcome({name: run.account() for name, run in runs.items()}, removed)


def prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Prefix the names of figures."""
    return {prefix + figure: value for figure, value in figures.items()}


async def _run(run: TaskRun, rhythm: Rhythm, bursts: int, rollouts: int) -> None:
    random_source = random.Random(f"{replace(rhythm, phase=0)}")
    # In the middle of equal shares of the time; in each burst if the bursts are fewer than the rollouts.
    rollout_bursts = sorted({bursts * (2 * number + 1) // (2 * rollouts) for number in range(rollouts)})
    await run.run(
        workload(rhythm, bursts, random_source),
        [rhythm.phase + burst * rhythm.period + ROLLOUT_DELAY_SECONDS for burst in rollout_bursts],
    )


async def _removed_pods(operator: OperatorProcess) -> dict[str, float]:
    """Return how many pods scale-ins have removed, by state as the operator counts them."""
    found: dict[str, float] = {}

    async def has_samples() -> bool:
        samples = await operator.samples("taskqueue_scale_in_removed_pods_total")
        found.update({sample.labels["state"]: sample.value for sample in samples})
        return bool(found)

    await eventually(has_samples, "the operator serves its metrics", seconds=TIMEOUT_SECONDS, every=1)
    return found
