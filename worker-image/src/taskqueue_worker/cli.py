"""What `python -m taskqueue_worker` can do. Bad settings end in one sentence on stderr and exit code 2."""

import argparse
import asyncio
import importlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence

import orjson

from .broker import BrokerError
from .settings import Settings, SettingsError, broker_source
from .tasks import Registry, registry

USAGE_ERROR = 2


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, `run` when they name none; its exit code."""
    options = _parser().parse_args(arguments)
    commands = {"run": _run, "check": _check, "publish": _publish}
    try:
        return commands[options.command or "run"](options, os.environ)
    except (SettingsError, BrokerError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person who set it
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taskqueue_worker", description="Works on tasks from RabbitMQ.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="consume and work until SIGTERM (the default)")
    commands.add_parser("check", help="import the task modules, list the tasks, say whether the settings are right")
    publish = commands.add_parser("publish", help="publish one task, persistent and confirmed")
    publish.add_argument("--exchange", required=True, help="the exchange of the TaskQueue")
    publish.add_argument("--type", required=True, help="which task: the type that @task(...) names")
    publish.add_argument("--routing-key", help="default: the name of the exchange")
    publish.add_argument("--id", help="the message_id; default: a new UUID")
    publish.add_argument("payload", metavar="JSON")
    return parser


def _run(_: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = _settings(environment)
    from .app import run  # what consuming needs is loaded only to consume

    run(settings, registry)
    return 0


def _check(_: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = _settings(environment)
    print(f"broker       {settings.broker.read().address}")  # noqa: T201 - the answer
    print(f"queues       {', '.join(settings.queues)}")  # noqa: T201 - the answer
    print(  # noqa: T201 - the answer
        f"concurrency  {settings.concurrency}, prefetch {settings.prefetch}, timeout {settings.task_timeout_seconds} s"
    )
    for handler in sorted(registry, key=lambda handler: handler.type):
        print(f"task         {handler.type}  {handler.place}")  # noqa: T201 - the answer
    return 0


def _publish(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    from .log import quiet_libraries
    from .publisher import Publisher, PublishFailedError

    quiet_libraries()

    try:
        payload = orjson.loads(options.payload)
    except ValueError as error:
        raise SettingsError(f"The payload is not JSON: {error}.") from error

    source = broker_source(environment)
    source.read()

    async def publish() -> str:
        async with Publisher(source) as publisher:
            return await publisher.publish(
                options.exchange,
                options.routing_key or options.exchange,
                payload,
                type=options.type,
                message_id=options.id,
            )

    try:
        message_id = asyncio.run(publish())
    except PublishFailedError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person who published
        return 1
    print(message_id)  # noqa: T201 - the answer
    return 0


def _settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings, the broker's address among them, and import the task modules."""
    settings = Settings.from_environment(environment)
    settings.broker.read()
    import_tasks(settings.modules, registry)
    return settings


def import_tasks(modules: Sequence[str], into: Registry) -> None:
    """Import the modules, which register their tasks.

    Raises:
        SettingsError: a module cannot be imported, or there is no task.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            if not (isinstance(error, ModuleNotFoundError) and error.name == module):
                traceback.print_exc()
            raise SettingsError(
                f"TASKQUEUE_MODULES names {module!r}, which cannot be imported: {type(error).__name__}: {error}. "
                "Copy it into the image, beside the other modules in /app, or name another."
            ) from error
    if not any(into):
        raise SettingsError(
            f"No tasks: nothing in {', '.join(modules)} (TASKQUEUE_MODULES) is decorated with @task(...)."
        )
