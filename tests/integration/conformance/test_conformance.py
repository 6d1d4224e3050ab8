"""The conformance kit: workers that keep the control protocol pass, and each broken rule is found."""

import asyncio
from collections.abc import Iterator, Mapping

import httpx
import pytest

from taskqueue_drain.conformance.rules import RULES, Result
from taskqueue_drain.conformance.run import Outcome
from taskqueue_drain.conformance.run import run as run_in_process
from taskqueue_drain.conformance.settings import Settings
from taskqueue_drain.conformance.task_template import TaskTemplate
from tests.cluster.broker import Broker
from tests.integration.adapters.runtimes import AIO_PIKA, DRAMATIQ, FASTSTREAM, PIKA, TASKIQ
from tests.integration.conformance.mutations import MUTATIONS
from tests.integration.conformance.running_kit import (
    application,
    by_hand,
    celery,
    node_worker,
    run_kit,
    taskqueue_worker,
)
from tests.integration.worker import management_api as api

SLEEP = ("--property", "type=sleep")
CELERY_TASK = (
    *("--message", '[[], {"seconds": {seconds}}, {}]', "--property", "content_encoding=utf-8"),
    *("--header", "lang=py", "--header", "task=sleep", "--header", "id={id}"),
)
DRAMATIQ_TASK = (
    "--message",
    (
        '{"message_id": "{id}", "message_timestamp": 0, "queue_name": "{queue}", "actor_name": "sleep", "options": {},'
        ' "args": [], "kwargs": {"seconds": {seconds}}}'
    ),
)
TASKIQ_TASK = (
    "--message",
    '{"task_id": "{id}", "task_name": "sleep", "labels": {}, "args": [], "kwargs": {"seconds": {seconds}}}',
)
ON_A_BUSY_MACHINE = ("--task-seconds", "4", "--start-seconds", "60", "--wait-seconds", "30")
KITS_AT_ONCE = 7
WORKERS_AT_ONCE = 3
"""Here a kit tests all rules, and so starts ten workers at once."""

Kept = Mapping[str, tuple[int, Mapping[str, str]]]


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
def kept(broker: Broker, least_url: str) -> Kept:
    """What the kit says of each worker that keeps all rules."""
    workers = {
        "taskqueue_worker": (least_url, SLEEP, taskqueue_worker()),
        "celery": (broker.url, CELERY_TASK, celery()),  # it declares queues and exchanges of its own
        "node": (least_url, (), node_worker()),
        "pika": (least_url, (), by_hand(PIKA)),
        "aio-pika": (least_url, (), by_hand(AIO_PIKA)),
        "dramatiq": (broker.url, DRAMATIQ_TASK, application(DRAMATIQ)),  # as Celery
        "taskiq": (broker.url, TASKIQ_TASK, application(TASKIQ)),
        "faststream": (least_url, ("--message", "{seconds}"), application(FASTSTREAM)),
    }

    turns = asyncio.Semaphore(WORKERS_AT_ONCE)

    async def outcome(worker: str) -> tuple[int, Mapping[str, str]]:
        url, task, command = workers[worker]
        async with turns:
            return await run_kit(url, (*ON_A_BUSY_MACHINE, *task), command)

    async def run_all() -> Kept:
        return dict(zip(workers, await asyncio.gather(*map(outcome, workers)), strict=True))

    return asyncio.run(run_all())


@pytest.mark.parametrize(
    "worker", ["taskqueue_worker", "celery", "node", "pika", "aio-pika", "dramatiq", "taskiq", "faststream"]
)
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
            rules = [MUTATIONS[name].rule]
            settings = Settings(command, broker.url, template, rules, task_seconds=3, start_seconds=60, wait_seconds=9)
            return await run_in_process(settings)

    async def run_all() -> Mapping[str, Outcome]:
        return dict(zip(MUTATIONS, await asyncio.gather(*map(outcome, MUTATIONS)), strict=True))

    return asyncio.run(run_all())


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_broken_rule_is_found(broken: Mapping[str, Outcome], mutation: str) -> None:
    outcome = broken[mutation]
    print(outcome.verdicts, outcome.output)
    assert {one.rule for one in outcome.verdicts if one.result is Result.FAIL} == {MUTATIONS[mutation].rule}


def test_each_rule_is_broken() -> None:
    assert {mutation.rule for mutation in MUTATIONS.values()} == set(RULES)
