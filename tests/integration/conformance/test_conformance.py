"""The conformance kit: workers that keep the control protocol pass, and each broken rule is found."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

import httpx
import pytest

from taskqueue_drain.conformance.rules import RULES, Result
from taskqueue_drain.conformance.run import Outcome, run
from taskqueue_drain.conformance.scenarios import SCENARIOS, Scenario
from taskqueue_drain.conformance.settings import Settings
from taskqueue_drain.conformance.task_template import TaskTemplate
from tests.cluster.broker import Broker
from tests.integration.conformance.good_workers import GOOD_WORKERS
from tests.integration.conformance.mutations import MUTATIONS, Mutation
from tests.integration.conformance.running_kit import run_kit, taskqueue_worker
from tests.integration.worker import management_api as api

ON_A_BUSY_MACHINE: Final = ("--start-seconds", "60", "--wait-seconds", "30")
GOOD_AT_ONCE: Final = 4
"""The kit tests all rules with such a worker, and so starts seven of it at once."""
BROKEN_AT_ONCE: Final = 6
"""The kit starts one such worker, and then mostly waits in vain."""

Name = TypeVar("Name")
Value = TypeVar("Value")
Kept = Mapping[str, tuple[int, Mapping[str, str]]]
Broken = Mapping[str, Outcome]


@pytest.fixture(scope="module")
def least_url(broker: Broker) -> Iterator[str]:
    """The URL of a user with the permissions of docs/conformance.md."""
    user, names = "conformance", r"taskqueue-conformance-.*|taskqueue\.reports|amq\.gen-.*"
    permissions = {"configure": f"^({names})$", "write": rf"^({names}|amq\.default)$", "read": f"^({names})$"}
    with httpx.Client(base_url=broker.management_url, auth=("guest", "guest"), timeout=10) as management:
        api.put_user(management, user, "secret")
        api.put_permissions(management, user, "/", permissions)
    yield f"amqp://{user}:secret@127.0.0.1:{broker.amqp_port}/"
    with httpx.Client(base_url=broker.management_url, auth=("guest", "guest"), timeout=10) as management:
        api.delete_user(management, user)


@pytest.fixture(scope="module")
def outcomes(broker: Broker, least_url: str) -> tuple[Kept, Broken]:
    """What the kit says of each worker. While it waits for broken ones, it starts good ones."""
    commands = {name: worker.command() for name, worker in GOOD_WORKERS.items()}

    async def kept(name: str) -> tuple[int, Mapping[str, str]]:
        worker = GOOD_WORKERS[name]
        url = broker.url if worker.declares else least_url
        return await run_kit(url, (*ON_A_BUSY_MACHINE, *worker.options), commands[name])

    async def broken(name: str) -> Outcome:
        template = TaskTemplate(properties={"type": "sleep"})
        command = taskqueue_worker("worker_tasks,mutations", MUTATION=name)
        rules = [MUTATIONS[name].rule]
        settings = Settings(command, broker.url, template, rules, task_seconds=1, start_seconds=60, wait_seconds=12)
        return await run(settings, [scenario_that_finds(MUTATIONS[name])])

    async def run_all() -> tuple[Kept, Broken]:
        good, bad = each(GOOD_WORKERS, kept, GOOD_AT_ONCE), each(MUTATIONS, broken, BROKEN_AT_ONCE)
        return await asyncio.gather(good, bad)

    return asyncio.run(run_all())


async def each(
    names: Iterable[Name], outcome: Callable[[Name], Awaitable[Value]], at_once: int
) -> Mapping[Name, Value]:
    """Give the outcome for each name, so many at once."""
    turns = asyncio.Semaphore(at_once)

    async def in_turn(name: Name) -> tuple[Name, Value]:
        async with turns:
            return name, await outcome(name)

    return dict(await asyncio.gather(*map(in_turn, names)))


def scenario_that_finds(mutation: Mutation) -> Scenario:
    scenarios = [one for one in SCENARIOS if mutation.rule in one.rules]
    named = [one for one in scenarios if one.run.__name__ == mutation.scenario]
    return named[0] if mutation.scenario else scenarios[0]


@pytest.mark.parametrize("worker", GOOD_WORKERS)
def test_a_worker_keeps_all_rules(outcomes: tuple[Kept, Broken], worker: str) -> None:
    kept, _ = outcomes
    assert kept[worker] == (0, {})


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_rule_is_found(outcomes: tuple[Kept, Broken], mutation: str) -> None:
    _, broken = outcomes
    outcome = broken[mutation]
    print(outcome.verdicts, outcome.output)
    assert {one.rule for one in outcome.verdicts if one.result is Result.FAIL} == {MUTATIONS[mutation].rule}


def test_each_rule_is_broken() -> None:
    assert {mutation.rule for mutation in MUTATIONS.values()} == set(RULES)
