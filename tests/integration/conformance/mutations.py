"""For TASKQUEUE_MODULES: ways to break one rule of the control protocol. MUTATION names the one that is applied."""

# ruff: noqa: ANN401 - what is replaced here has all kinds of arguments

import asyncio
import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from aio_pika import DeliveryMode

from taskqueue_drain import aio_pika_channel, drain_lease, protocol, worker_protocol
from taskqueue_drain.aio_pika.connection import connect_as
from taskqueue_drain.drain_lease import DrainLease
from taskqueue_drain.health import Health
from taskqueue_drain.protocol import Answer, FencingToken, Verb
from taskqueue_drain.worker_protocol import WorkerProtocol
from taskqueue_worker import app, connection, subscription
from taskqueue_worker.app import App
from taskqueue_worker.consumer import Consumer
from taskqueue_worker.delivery import Delivery
from taskqueue_worker.subscription import Subscription
from taskqueue_worker.worker import Worker


class Mutation(NamedTuple):
    """A rule, the scenario that finds it broken (if empty, the first one that tests it), and what breaks the rule."""

    rule: str
    scenario: str
    apply: Callable[[], None]


MUTATIONS: Final[dict[str, Mutation]] = {}


def breaks(rule: str, scenario: str = "") -> Callable[[Callable[[], None]], Callable[[], None]]:
    def note(apply: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[apply.__name__] = Mutation(rule, scenario, apply)
        return apply

    return note


def patch(owner: object, **values: object) -> None:
    for name, value in values.items():
        setattr(owner, name, value)


def never_refused_because(reason: str) -> None:
    refusal = DrainLease._refusal
    patch(DrainLease, _refusal=lambda *arguments: None if (why := refusal(*arguments)) == reason else why)


@breaks("report-fields")
def a_field_is_missing() -> None:
    build = protocol.build_report

    def without_field(*arguments: Any) -> bytes:
        report = json.loads(build(*arguments))
        del report["prefetched"]
        return json.dumps(report).encode()

    patch(worker_protocol, build_report=without_field)


@breaks("report-fields")
def the_number_does_not_rise() -> None:
    build = protocol.build_report
    patch(worker_protocol, build_report=lambda identity, _, *others: build(identity, 1, *others))


@breaks("report-address")
def reports_are_persistent() -> None:
    patch(aio_pika_channel, DeliveryMode=SimpleNamespace(NOT_PERSISTENT=DeliveryMode.PERSISTENT))


@breaks("report-times", "consuming_and_late_message")
def no_period() -> None:
    patch(worker_protocol, REPORT_PERIOD_SECONDS=3600)


@breaks("report-times")
def no_period_while_drained() -> None:
    patch(worker_protocol, DRAINING_REPORT_PERIOD_SECONDS=3600)


@breaks("report-times")
def changes_are_not_reported() -> None:
    patch(worker_protocol, _urgent=lambda *_: (None, False))


@breaks("own-connection")
def one_connection_for_all() -> None:
    opened = asyncio.Queue[Any](1)

    async def connect_once(*arguments: Any) -> object:
        await opened.put(shared := await connect_as(*arguments))
        return shared

    patch(connection, connect_as=connect_once)
    patch(app, connect=lambda *_: opened.get())


@breaks("drain")
def requeues_by_reject() -> None:
    patch(Delivery, requeue=Delivery.reject)


@breaks("drain")
def keeps_what_it_prefetched() -> None:
    async def nothing(*_: object) -> int:
        return 0

    patch(Worker, requeue=nothing, stop_starting=lambda _: None)


@breaks("drained-is-certain", "unconfirmed")
def cancel_ok_is_proof() -> None:
    async def at_once(self: Consumer) -> None:
        self.cancelled_for_certain.set()
        self._state_changed.set()

    patch(Consumer, make_certain=at_once)


@breaks("unconfirmed-drain")
def waits_for_ever_for_the_proof() -> None:
    patch(worker_protocol, CANCEL_TIMEOUT_SECONDS=3600)


@breaks("unconfirmed-drain")
def gives_up_a_channel() -> None:
    certain = Consumer.make_certain

    async def or_close(self: Consumer) -> None:
        try:
            await asyncio.wait_for(certain(self), 2)
        except TimeoutError:
            await self.channel.close()

    patch(Consumer, make_certain=or_close)


@breaks("late-message")
def a_late_message_begins() -> None:
    start = Consumer.start

    async def start_for_good(self: Consumer, receive: Callable[[Delivery], None], *others: Any, **options: Any) -> None:
        patch(self, received=receive)
        await start(self, receive, *others, **options)

    def receive(self: Any, message: Any) -> None:
        self.received(Delivery.of(message, self._queue, self._acknowledgements, counts_failures=True))

    patch(Consumer, start=start_for_good, _on_message=receive)


@breaks("lease")
def the_lease_does_not_end() -> None:
    patch(DrainLease, has_expired=lambda *_: False)


@breaks("lease")
def the_lease_is_not_renewed() -> None:
    apply = DrainLease.apply

    def first_only(self: DrainLease, command: protocol.Command, now: float) -> str | None:
        expires_at = self.expires_at
        refusal = apply(self, command, now)
        if command.verb is Verb.DRAIN and expires_at is not None:
            self._expires_at = expires_at
        return refusal

    patch(DrainLease, apply=first_only)


@breaks("undrain")
def an_undrain_has_no_effect() -> None:
    patch(WorkerProtocol, _resume=lambda *_: None)


@breaks("undrain")
def consumer_tags_stay() -> None:
    patch(subscription, uuid4=lambda: SimpleNamespace(hex="always the same"))


@breaks("order")
def lower_tokens_count() -> None:
    patch(FencingToken, __lt__=lambda *_: False)


@breaks("order")
def installations_share_a_drain() -> None:
    never_refused_because(drain_lease.ANOTHER_INSTALLATION)


@breaks("order")
def any_number_of_installations() -> None:
    never_refused_because(drain_lease.TOO_MANY)


@breaks("duplicates")
def a_repeated_command_is_ignored() -> None:
    receive, bodies = WorkerProtocol.receive, set[bytes]()

    def once(self: WorkerProtocol, body: bytes, now: float) -> None:
        if body not in bodies:
            bodies.add(body)
            receive(self, body, now)

    patch(WorkerProtocol, receive=once)


@breaks("incarnation")
def any_incarnation_obeys() -> None:
    parse = protocol.parse_command

    def for_anyone(body: bytes, incarnation: str) -> object:
        parsed = parse(body, incarnation)
        return parsed or (parse(body, json.loads(body)["incarnation"]) if b'"incarnation"' in body else None)

    patch(worker_protocol, parse_command=for_anyone)


@breaks("errors")
def a_lease_may_be_missing() -> None:
    patch(protocol, _lease_seconds=lambda _: 60.0)


@breaks("errors")
def errors_have_no_answer() -> None:
    parse = protocol.parse_command

    def silent(body: bytes, incarnation: str) -> object:
        parsed = parse(body, incarnation)
        return None if isinstance(parsed, Answer) else parsed

    patch(worker_protocol, parse_command=silent)


@breaks("lost-connection")
def a_drain_ends_with_its_connection() -> None:
    begin = WorkerProtocol.begin_channel

    def forget(self: WorkerProtocol) -> None:
        self._resume("connected", "connected")
        begin(self)

    patch(WorkerProtocol, begin_channel=forget)


@breaks("lost-connection")
def tasks_end_with_the_connection() -> None:
    lost = Subscription.on_connection_lost

    def cancel(self: Subscription) -> None:
        self._worker._runner.cancel_running()
        lost(self)

    patch(Subscription, on_connection_lost=cancel)


@breaks("sigterm")
def sigterm_ends_the_process() -> None:
    patch(App, begin_shutdown=lambda _: os._exit(0))


@breaks("sigterm")
def what_waits_returns_after_the_running_task() -> None:
    requeue = Worker.requeue

    async def after_the_task(self: Worker, matches: Callable[[Delivery], bool]) -> int:
        await self.wait_until_settled()
        return await requeue(self, matches)

    patch(Worker, requeue=after_the_task)


@breaks("sigterm")
def a_leaving_worker_is_drained() -> None:
    never_refused_because(drain_lease.LEAVING)


@breaks("sigterm")
def the_exit_code_is_another() -> None:
    run = App.run

    async def run_and_fail(self: App) -> None:
        await run(self)
        self.exit_code = 3

    patch(App, run=run_and_fail)


@breaks("sigterm")
def sigterm_cancels_running_tasks() -> None:
    begin = App.begin_shutdown

    def twice(self: App) -> None:
        begin(self)
        begin(self)

    patch(App, begin_shutdown=twice)


@breaks("healthz")
def a_drained_worker_is_unhealthy() -> None:
    patch(Health, is_alive=Health.is_ready)


@breaks("readyz")
def a_drained_worker_is_ready() -> None:
    patch(Health, is_ready=Health.is_alive)


if name := os.environ.get("MUTATION"):
    MUTATIONS[name].apply()
