"""The conformance kit: workers that keep the control protocol pass, and each broken rule is found."""

import asyncio
from collections.abc import Mapping

import pytest

from taskqueue_drain.conformance.rules import RULES, Result
from taskqueue_drain.conformance.run import Outcome
from taskqueue_drain.conformance.run import run as run_in_process
from taskqueue_drain.conformance.settings import Settings
from taskqueue_drain.conformance.task_template import TaskTemplate
from tests.cluster.broker import Broker
from tests.integration.conformance.mutations import MUTATIONS
from tests.integration.conformance.running_kit import celery, node_worker, run_kit, taskqueue_worker

SLEEP = ("--property", "type=sleep")
CELERY_TASK = (
    *("--message", '[[], {"seconds": {seconds}}, {}]', "--property", "content_encoding=utf-8"),
    *("--header", "lang=py", "--header", "task=sleep", "--header", "id={id}"),
)
KITS_AT_ONCE = 6

Kept = Mapping[str, tuple[int, Mapping[str, str]]]


@pytest.fixture(scope="module")
def kept(broker: Broker) -> Kept:
    """What the kit says of each worker that keeps all rules."""
    workers = {
        "taskqueue_worker": (SLEEP, taskqueue_worker()),
        "celery": (CELERY_TASK, celery()),
        "node": ((), node_worker()),
    }

    async def run_all() -> Kept:
        kits = [run_kit(broker.url, options, command) for options, command in workers.values()]
        return dict(zip(workers, await asyncio.gather(*kits), strict=True))

    return asyncio.run(run_all())


@pytest.mark.parametrize("worker", ["taskqueue_worker", "celery", "node"])
def test_a_worker_keeps_all_rules(kept: Kept, worker: str) -> None:
    assert kept[worker] == (0, {})


@pytest.fixture(scope="module")
def broken(broker: Broker) -> Mapping[str, Outcome]:
    """What the kit says of each broken worker."""
    turns = asyncio.Semaphore(KITS_AT_ONCE)
    template = TaskTemplate(properties={"type": "sleep"})

    async def outcome(name: str) -> Outcome:
        command = taskqueue_worker("worker_tasks,mutations", MUTATION=name)
        async with turns:
            return await run_in_process(
                Settings(command, broker.url, template, rules=[MUTATIONS[name].rule], wait_seconds=6)
            )

    async def run_all() -> Mapping[str, Outcome]:
        return dict(zip(MUTATIONS, await asyncio.gather(*map(outcome, MUTATIONS)), strict=True))

    return asyncio.run(run_all())


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_rule_is_found(broken: Mapping[str, Outcome], mutation: str) -> None:
    failed = {one.rule: one.reason for one in broken[mutation].verdicts if one.result is Result.FAIL}
    print(failed)
    assert list(failed) == [MUTATIONS[mutation].rule]


def test_each_rule_is_broken() -> None:
    assert {mutation.rule for mutation in MUTATIONS.values()} == set(RULES)
