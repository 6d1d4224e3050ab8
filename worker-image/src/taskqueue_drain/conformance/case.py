"""One worker under test: its process, queue, proxy and TaskQueue."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, NoReturn
from uuid import uuid4

from aio_pika.abc import AbstractChannel

from .deliveries import Deliveries
from .environment import worker_environment
from .operator_side import OperatorSide, Report
from .probes import free_port, status_code
from .process import WorkerProcess
from .proxy import Proxy
from .queues import TaskQueues
from .report_fields import problems, shown
from .rules import BrokenError, Findings
from .settings import Settings

POLL_SECONDS: Final = 0.02
TASK_TIMEOUT_SECONDS: Final = 600

Condition = Callable[[], object | Awaitable[object]]


class Case:
    """What the scenarios do with one worker.

    Attributes:
        operator: The operator's side of the protocol.
        proxy: Between the worker and the broker.
        process: The worker.
        findings: What is found about the rules.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that a worker needs
        self,
        settings: Settings,
        operator: OperatorSide,
        proxy: Proxy,
        queues: TaskQueues,
        findings: Findings,
        identity: dict[str, object],
    ) -> None:
        self._settings = settings
        self._queues = queues
        self._identity = identity
        self._http_port = free_port()
        url = settings.url_through(proxy.port)
        environment = worker_environment(url, queues.name, identity, http_port=self._http_port)
        self.operator = operator
        self.proxy = proxy
        self.findings = findings
        self.process = WorkerProcess(settings.command, environment)

    @property
    def deliveries(self) -> Deliveries:
        """What the worker was sent."""
        return self.proxy.deliveries

    # What must hold.

    def check(self, rule: str, reason: str, *, holds: bool) -> None:
        """Note whether the worker keeps the rule."""
        self.findings.check(rule, reason, holds=holds)

    def broken(self, rule: str, reason: str) -> NoReturn:
        """The worker breaks the rule, and the scenario cannot go on."""
        self.findings.check(rule, reason, holds=False)
        raise BrokenError(f"the worker breaks {rule}: {reason}")

    async def happens(self, condition: Condition, within: float | None = None) -> bool:
        """Wait for the condition, which may be asynchronous; return whether it came true before the worker ended."""
        until = time.monotonic() + (within or self._settings.wait_seconds)
        while True:
            is_last = self.process.exit_code is not None or time.monotonic() >= until
            result = condition()
            if inspect.isawaitable(result):
                result = await result
            if result or is_last:
                return bool(result)
            await asyncio.sleep(POLL_SECONDS)

    async def require(self, rule: str, reason: str, condition: Condition, within: float | None = None) -> None:
        """Wait for what the rule demands; without it the scenario cannot go on."""
        if not await self.happens(condition, within):
            self.broken(rule, self._ended() or reason)
        self.check(rule, reason, holds=True)

    # The worker as an operator sees it.

    async def start(self) -> None:
        """Wait until the worker consumes."""
        operator, seconds = self.operator, self._settings.start_seconds
        if not await self.happens(lambda: operator.reports, seconds) and self.process.exit_code is None:
            if operator.unreadable:
                self.broken("report-fields", operator.unreadable)
            self.broken("report-times", f"no report with routing key {operator.taskqueue} within {seconds:g} s")
        if not operator.reports:
            raise BrokenError(f"{self._ended()} before its first report")
        await self.require(
            "report-times", "the worker does not report that it consumes", lambda: operator.last.state == "consuming"
        )

    async def command(self, rule: str, verb: str, **changes: object) -> Report:
        """Send a command, which is valid except for the changes, and return the report that answers it."""
        id_ = str(changes.get("id", ""))
        before = len(self.operator.answers(id_))
        sent = await self.operator.send(verb, **changes)
        what = " ".join((verb, *(f"{name}={value!r:.40}" for name, value in changes.items())))
        await self.require(rule, f"no answer to {what}", lambda: len(self.operator.answers(sent)) > before)
        return self.operator.answers(sent)[-1]

    async def done(self, rule: str, verb: str, **changes: object) -> Report:
        """Send a command that must be done."""
        report = await self.command(rule, verb, **changes)
        if report.answer.get("result") != "done":
            self.broken(rule, f"{verb} was refused: {shown(report.answer.get('reason'))}")
        return report

    async def refused(self, rule: str, verb: str, reason: str, **changes: object) -> None:
        """Send a command that must be refused, with a reason that contains this one."""
        answer = (await self.command(rule, verb, **changes)).answer
        what = " ".join((verb, *(f"{name}={value!r:.40}" for name, value in changes.items())))
        if answer.get("result") != "refused":
            self.broken(rule, f"{what} was not refused")
        given = answer.get("reason")
        self.check(rule, f"{what} was refused because of {shown(given)} and not {reason!r}", holds=reason in str(given))

    async def state(self, rule: str) -> str:
        """Ask for the state of the worker."""
        return (await self.command(rule, "report")).state

    async def reaches(self, rule: str, state: str, reason: str) -> Report:
        """Wait for the state, which the worker reports by itself, and return that report."""
        operator = self.operator
        if not await self.happens(lambda: operator.last.state == state):
            if self.process.exit_code is None and await self.state(rule) == state:
                self.broken("report-times", f"the worker is {state} and has not reported it")
            self.broken(rule, self._ended() or reason)
        self.check(rule, reason, holds=True)
        return operator.last

    async def probe(self, path: str, reason: str, *, is_good: bool) -> None:
        """Check an endpoint, which may lag behind the reports."""

        async def matches() -> bool:
            code = await status_code(self._http_port, path)
            return code is not None and (code == 200) is is_good  # noqa: PLR2004 - a status code

        self.check(path.removeprefix("/"), f"{path} does not return {reason}", holds=await self.happens(matches))

    # Its tasks.

    async def publish(self, count: int = 1, *, seconds: float = 0) -> None:
        """Publish tasks that take so long."""
        for _ in range(count):
            await self._queues.publish(self._settings.template.message(self._queues.name, seconds))

    async def ready(self) -> int:
        """Return how many messages wait in the queue."""
        return await self._queues.ready()

    @asynccontextmanager
    async def running_task(self, rule: str, longer_by: float = 0) -> AsyncIterator[None]:
        """Run a task meanwhile, and then wait until it should end.

        What is found broken later than that may be due to the end of the task: the finding is doubtful.
        """
        seconds = self._settings.task_seconds + longer_by
        ends_at = time.monotonic() + seconds
        await self.publish(seconds=seconds)
        await self._begins(rule, seconds)
        try:
            yield
        finally:
            left = ends_at - time.monotonic()
            self.findings.is_doubtful = left <= 0 and self.findings.is_broken
        await asyncio.sleep(left)

    async def check_runs(self, rule: str, reason: str) -> None:
        """Check that the task still runs."""
        sent = await self.operator.send("report")
        await self.happens(lambda: self.operator.answers(sent))
        runs = [report.fields.get("in_flight") == 1 for report in self.operator.answers(sent)]
        self.check(rule, reason, holds=any(runs))

    async def _begins(self, rule: str, seconds: float) -> None:
        """Wait until the first task is counted as in flight."""
        last: dict[str, object] = {}

        async def begins() -> bool:
            last.update((await self.command(rule, "report")).fields)
            return any(last.get(name) for name in ("in_flight", "completed", "failed"))

        if await self.happens(begins) and last.get("in_flight") == 1:
            return
        self.findings.is_doubtful = bool(last.get("completed"))
        dead = await self._queues.dead_letters()
        hint = f"; {dead} messages are in the dead-letter queue, the handler refuses them" if dead else ""
        raise BrokenError(f"the worker reported no in_flight=1 for a task of {seconds:g} s: look at --message{hint}")

    def check_reports(self) -> None:
        """Check all reports that have arrived."""
        numbers: dict[str, int] = {}
        for report in self.operator.reports:
            for problem in problems(report.fields, self._identity):
                self.check("report-fields", problem, holds=False)
            self.check("report-address", report.fault, holds=not report.fault)
            incarnation, number = str(report.fields.get("incarnation")), report.fields.get("number")
            rises = isinstance(number, int) and number > numbers.get(incarnation, 0)
            self.check("report-fields", f"number {shown(number)} follows a higher one", holds=rises)
            numbers[incarnation] = number if isinstance(number, int) else 0
        if self.operator.unreadable:
            self.check("report-fields", self.operator.unreadable, holds=False)

    def _ended(self) -> str:
        code = self.process.exit_code
        return "" if code is None else f"COMMAND ended with exit code {code}"


@asynccontextmanager
async def running_worker(settings: Settings, channel: AbstractChannel, rules: Iterable[str]) -> AsyncIterator[Case]:
    """Start a worker with all that it needs, and end it."""
    name = f"taskqueue-conformance-{uuid4().hex[:12]}"
    identity: dict[str, object] = {
        "taskqueue": f"conformance/{name.rpartition('-')[2]}",
        "pod": str(uuid4()),
        "task_timeout_seconds": TASK_TIMEOUT_SECONDS,
    }
    operator = OperatorSide(channel, str(identity["taskqueue"]))
    await operator.listen()
    proxy = Proxy(settings.host, settings.port, Deliveries(name))
    async with TaskQueues(channel, name, settings.queue_type) as queues, proxy:
        case = Case(settings, operator, proxy, queues, Findings(rules), identity)
        async with case.process:
            yield case
