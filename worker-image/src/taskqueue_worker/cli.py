"""The command line, `python -m taskqueue_worker`. A wrong setting prints a message to stderr and exits with code 2."""

import argparse
import asyncio
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Final

from taskqueue_drain.broker import BrokerError, broker_source
from taskqueue_drain.consume_settings import AUTO, ConsumeSettings
from taskqueue_drain.environment import SettingsError

from .settings import Settings
from .tasks import Registry, registry

BROKER_ERROR: Final = 1
USAGE_ERROR: Final = 2
OFFLINE: Final = {"TASKQUEUE_QUEUES": "offline", "RABBITMQ_URL": "amqp://offline/"}
"""Settings that are not set where there is no broker, as in a CI."""


def main(arguments: Sequence[str]) -> int:
    """Run a command, by default `run`, and return its exit code."""
    options = _parser().parse_args(arguments)
    commands = {"run": _run, "check": _check, "publish": _publish}
    try:
        return commands[options.command or "run"](options, os.environ)
    except (SettingsError, BrokerError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the message for the user
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskqueue_worker", description="Run tasks from RabbitMQ queues.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="consume until SIGTERM (default)")
    check = commands.add_parser("check", help="check settings, task modules, and what the worker may do at its broker")
    check.add_argument("--offline", action="store_true", help="without a broker, and without settings of one")
    publish = commands.add_parser("publish", help="publish one persistent task and wait for the confirm")
    publish.add_argument("--exchange", required=True, help="exchange of the TaskQueue")
    publish.add_argument("--type", required=True, help="task type, as in @task(...)")
    publish.add_argument("--routing-key", help="routing key (default: the name of the exchange)")
    publish.add_argument("--id", help="message_id (default: a new UUID)")
    publish.add_argument("payload", metavar="JSON", help="payload of the task")
    return parser


def _run(_: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = _settings(environment)
    from .app import run  # slow imports that only this command needs

    run(settings, registry)
    return 0


def _check(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = _settings(OFFLINE | dict(environment) if options.offline else environment)
    consume = settings.consume
    prefetch = AUTO if consume.is_prefetch_auto else consume.prefetch
    print(  # noqa: T201 - the output of the command
        f"concurrency  {consume.concurrency}, prefetch {prefetch}, timeout {consume.task_timeout_seconds} s"
    )
    for handler in sorted(registry, key=lambda handler: handler.type):
        print(f"task         {handler.type}  {handler.location}")  # noqa: T201 - the output of the command
    if options.offline:
        return 0
    from .broker_check import check_broker
    from .log import quiet_libraries

    async def check() -> int:
        is_refused = False
        async for finding in check_broker(settings):
            kind = "ok" if finding.problem is None else "warning" if finding.is_warning else "error"
            print(f"{kind:12} {finding.name}: {finding.problem or 'may be used'}")  # noqa: T201 - the output
            is_refused |= kind == "error"
        return BROKER_ERROR if is_refused else 0

    quiet_libraries()
    return asyncio.run(check())


def _publish(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from .log import quiet_libraries
    from .payload import PayloadError, decode
    from .publishing.publisher import Publisher, PublishFailedError

    quiet_libraries()

    try:
        payload = decode(os.fsencode(options.payload))
    except PayloadError as error:
        raise SettingsError(str(error)) from error

    source = broker_source(environment)
    source.read()

    async def publish() -> str:
        publisher = Publisher(source)  # connects after the check of the options
        try:
            return await publisher.publish(
                options.exchange,
                options.routing_key or options.exchange,
                payload,
                type=options.type,
                message_id=options.id,
            )
        finally:
            await publisher.close()

    try:
        message_id = asyncio.run(publish())
    except (TypeError, ValueError) as error:
        raise SettingsError(str(error)) from error
    except PublishFailedError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the message for the user
        return 1
    print(message_id)  # noqa: T201 - the output of the command
    return 0


def _settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings and the broker's address, and import the task modules."""
    settings = Settings.from_environment(environment)
    settings.consume.broker.read()
    import_tasks(settings.modules, registry)
    check_timeouts(registry, settings.consume.task_timeout_seconds)
    check_batches(registry, settings.consume)
    return settings


def check_timeouts(tasks: Registry, longest: float) -> None:
    """Check that no task may run longer than the worker waits for it.

    Raises:
        SettingsError: A task may.
    """
    for handler in tasks:
        if handler.timeout is not None and handler.timeout > longest:
            raise SettingsError(
                f"Task {handler.type!r}: timeout={handler.timeout:g} is longer than "
                f"TASKQUEUE_TASK_TIMEOUT_SECONDS={longest:g}. Raise spec.taskTimeoutSeconds, or lower the timeout."
            )


def check_batches(tasks: Registry, consume: ConsumeSettings) -> None:
    """Check that a batch can become full, and begins before its tasks time out.

    Raises:
        SettingsError: One cannot, or does not.
    """
    for handler in tasks:
        batch = None if handler.collector is None else handler.collector.batch
        if batch is None:
            continue
        if batch.size > consume.concurrency:
            raise SettingsError(
                f"Task {handler.type!r}: Batch(size={batch.size}) can never be full with "
                f"TASKQUEUE_CONCURRENCY={consume.concurrency}: each message has a slot. "
                "Raise spec.worker.concurrency, or lower the size."
            )
        timeout = handler.timeout or consume.task_timeout_seconds
        if batch.seconds >= timeout:
            raise SettingsError(
                f"Task {handler.type!r}: with Batch(seconds={batch.seconds:g}) its messages would time out, after "
                f"{timeout:g} s, before the handler runs. Lower the seconds, or raise the timeout."
            )


def import_tasks(modules: Sequence[str], into: Registry) -> None:
    """Import the modules, which register their tasks.

    Raises:
        SettingsError: A module cannot be imported, or no task is registered.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name == module):
                traceback.print_exc()
            raise SettingsError(
                f"TASKQUEUE_MODULES: module {module!r} cannot be imported: {type(error).__name__}: {error}. "
                "Copy it to /app in the image, or correct the name."
            ) from error
    if not any(into):
        raise SettingsError(
            f"TASKQUEUE_MODULES: no function in {', '.join(modules)} is decorated with @task(...). "
            "Decorate at least one."
        )
