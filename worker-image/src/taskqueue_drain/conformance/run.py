"""Runs the scenarios, each with a worker of its own, at the same time."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelClosed

from taskqueue_drain.protocol import EXCHANGE

from .case import Case, running_worker
from .queues import ANSWER_SECONDS
from .rules import BrokenError, Findings, Result, Verdict, merged
from .scenarios import SCENARIOS, Scenario
from .settings import NotValidError, Settings

RUN_SECONDS: Final = 120
"""Longest run of one scenario, beside its task; it takes 20 s with a worker that keeps the rules."""
TASK_FACTORS: Final = (1, 3, 9)
"""How much longer the tasks are at each further try. The last one tells a worker that is late from a slow machine."""
CONNECT_SECONDS: Final = 10


class NoBrokerError(Exception):
    """The broker cannot be used. The text says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has found.

    Attributes:
        verdicts: One for each rule that was to be tested, and for each other one that was found broken.
        output: The end of the output of a worker that broke a rule; empty if none did.
    """

    verdicts: list[Verdict]
    output: str


async def run(settings: Settings, scenarios: Iterable[Scenario] = SCENARIOS) -> Outcome:
    """Test the rules in those of the scenarios that are for them.

    Raises:
        NoBrokerError: The broker cannot be used.
        NotValidError: There is no such command.
    """
    if shutil.which(settings.command[0]) is None:
        raise NotValidError(f"COMMAND {settings.command[0]}: there is no such program")
    chosen = [scenario for scenario in scenarios if not scenario.rules.isdisjoint(settings.rules)]
    async with _connected(settings) as connection:
        await _declare_exchange(connection)
        found = await _run_all(chosen, settings, connection)
    output = next((output for findings, output in found if findings.is_broken), "")
    verdicts = merged(findings for findings, _ in found)
    return Outcome([one for one in verdicts if one.rule in settings.rules or one.result is Result.FAIL], output)


async def _run_all(
    scenarios: Iterable[Scenario], settings: Settings, connection: AbstractConnection
) -> list[tuple[Findings, str]]:
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(_run(scenario, settings, connection)) for scenario in scenarios]
    except ExceptionGroup as errors:
        if errors.split((AMQPError, OSError, RuntimeError))[1] is not None:
            raise
        raise NoBrokerError(f"the broker failed during the run: {errors.exceptions[0]!r}") from errors
    return [task.result() for task in running]


async def _run(scenario: Scenario, settings: Settings, connection: AbstractConnection) -> tuple[Findings, str]:
    """Try the scenario until its result is certain, each time with a new worker and longer tasks."""
    for factor in TASK_FACTORS:
        task_seconds = settings.task_seconds * factor
        findings, output = await _try(scenario, replace(settings, task_seconds=task_seconds), connection)
        if not findings.is_doubtful:
            break
    return findings, output


async def _try(scenario: Scenario, settings: Settings, connection: AbstractConnection) -> tuple[Findings, str]:
    channel = await connection.channel()
    try:
        async with running_worker(settings, channel, scenario.rules) as case:
            await _play(scenario, case, RUN_SECONDS + settings.task_seconds)
        return case.findings, case.process.output
    finally:
        async with asyncio.timeout(ANSWER_SECONDS):
            await channel.close()


async def _play(scenario: Scenario, case: Case, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await case.start()
            await scenario.run(case)
    except BrokenError as error:
        case.findings.break_off(str(error))
    except TimeoutError:
        case.findings.break_off(f"the scenario did not end within {seconds:g} s")
    case.check_reports()


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[AbstractConnection]:
    try:
        connection = await aio_pika.connect(settings.own_url, timeout=CONNECT_SECONDS)
    except (AMQPError, OSError, TimeoutError) as error:
        raise NoBrokerError(f"{settings.host}:{settings.port}: {str(error) or 'no answer'}") from None
    async with connection:
        yield connection


async def _declare_exchange(connection: AbstractConnection) -> None:
    """Declare the exchange of the reports, unless an operator has done so."""
    try:
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, passive=True)
        await channel.close()
    except ChannelClosed:
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, "direct", durable=True)
        await channel.close()
