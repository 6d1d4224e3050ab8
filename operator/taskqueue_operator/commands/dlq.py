"""`taskqueue-operator dlq`: looks into dead-letter queues, returns dead letters to their queues, and deletes them."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from taskqueue_operator.dead_letters.destination import Destinations
from taskqueue_operator.dead_letters.report import Json, groups_json, letter_json
from taskqueue_operator.rabbitmq.dead_letter_connection import BROWSE, REDRIVE, opened
from taskqueue_operator.rabbitmq.dead_letter_queue import DeadLetterQueue
from taskqueue_operator.resource.faults import Fault, Reason

from . import confirmation, operations
from .options import connection, parse, selection
from .redrive import Order, Redrive, Redriven
from .table import groups_table, letter_lines, redriven_lines
from .target import PASSWORD_VARIABLE, Target, UsageError, of_taskqueue, of_uri

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NO_MATCH: Final = 3
INCOMPLETE: Final = 4
NOT_CONFIRMED: Final = 5
INTERRUPTED: Final = 130
PROGRESS_SECONDS: Final = 10.0

Command = Callable[[argparse.Namespace, Target, DeadLetterQueue, asyncio.Event], Awaitable[int]]


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run a command and return its exit code, which docs/dead-letters.md lists."""
    options = parse(arguments, environment)
    logging.disable(logging.CRITICAL)  # the libraries log what our messages say better
    try:
        return asyncio.run(_run(options, environment))
    except UsageError as error:
        return _failed(str(error), USAGE)
    except Fault as fault:
        return _failed(_message(fault, options), FAILED)
    except asyncio.CancelledError:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    finally:
        logging.disable(logging.NOTSET)


async def _run(options: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if options.command == "purge" and not options.yes and not confirmation.can_ask():
        raise UsageError("Standard input is no terminal, so that no one can confirm the deletion. Add --yes.")
    stop = asyncio.Event()
    with _signals(stop):
        target = await _target(options, environment)
        mode = REDRIVE if options.command == "redrive" else BROWSE
        async with opened(target.endpoint, target.name, mode, unlimited=options.no_delivery_limit) as queue:
            code = await _COMMANDS[options.command](options, target, queue, stop)
    return INTERRUPTED if stop.is_set() else code


async def _target(options: argparse.Namespace, environment: Mapping[str, str]) -> Target:
    if options.taskqueue:
        return await of_taskqueue(options.taskqueue, options.queue)
    return of_uri(connection(options), options.queue, environment)


async def _list(options: argparse.Namespace, _: Target, queue: DeadLetterQueue, stop: asyncio.Event) -> int:
    found = await operations.survey(queue, selection(options), limit=options.limit, stop=stop)
    if options.output == "json":
        _print([_json(groups_json(queue.name, found.ready, found.read, found.groups))])
    else:
        _print(groups_table(queue.name, found, datetime.now(UTC)))
    return DONE


async def _show(options: argparse.Namespace, _: Target, queue: DeadLetterQueue, stop: asyncio.Event) -> int:
    found = await operations.show(queue, selection(options), first=options.first, limit=options.limit, stop=stop)
    letters = [
        letter_json(one.letter, one.headers, one.content_type, one.body if options.body else None) for one in found
    ]
    if options.output == "json":
        _print([_json({"queue": queue.name, "deadLetters": letters})])
    else:
        for letter in letters:
            _print([*letter_lines(letter), ""])
    return DONE if letters else _no_match(queue)


async def _redrive(options: argparse.Namespace, target: Target, queue: DeadLetterQueue, stop: asyncio.Event) -> int:
    order = Order(selection(options), _destinations(options, target), options.rate, options.limit)
    redrive = Redrive(queue, order, stop, _Progress())
    try:
        result = await redrive.run()
    except Fault:
        if redrive.result.redriven:
            _print(_redriven(options, queue.name, redrive.result))
        raise
    _print(_redriven(options, queue.name, result))
    if not result.selected and not result.unread:
        return _no_match(queue)
    return INCOMPLETE if result.kept or result.unread else DONE


async def _purge(options: argparse.Namespace, _: Target, queue: DeadLetterQueue, stop: asyncio.Event) -> int:
    ask = partial(confirmation.ask, name=queue.name, stop=stop)
    purged = await operations.purge(
        queue, selection(options), _agree if options.yes else ask, limit=options.limit, stop=stop
    )
    unread = purged.ready - purged.read
    if options.output == "json":
        counts = {"ready": purged.ready, "read": purged.read, "selected": purged.selected, "purged": purged.purged}
        _print([_json({"queue": queue.name, **counts})])
    else:
        more = f" {unread} were not read. Repeat the command, or see --limit." if unread else ""
        _print([f"{purged.purged} of {purged.selected} selected dead letters are deleted.{more}"])
    if not purged.confirmed:
        return NOT_CONFIRMED
    if not purged.selected and not unread:
        return _no_match(queue)
    return INCOMPLETE if unread or purged.purged < purged.selected else DONE


_COMMANDS: Final[Mapping[str, Command]] = {"list": _list, "show": _show, "redrive": _redrive, "purge": _purge}


def _destinations(options: argparse.Namespace, target: Target) -> Destinations:
    queues = frozenset(options.to) or target.queues
    if not queues:
        raise UsageError(f'The name of queue "{target.name}" does not say where its messages come from. Add --to.')
    if target.name in queues:
        raise UsageError(f'Queue "{target.name}" is the dead-letter queue itself. Name another one with --to.')
    return Destinations(queues, options.to[0] if len(set(options.to)) == 1 else None)


async def _agree(_: object) -> bool:
    return True


class _Progress:
    """Prints how many dead letters have returned, every ten seconds."""

    def __init__(self) -> None:
        self._next_at = asyncio.get_running_loop().time() + PROGRESS_SECONDS

    def __call__(self, result: Redriven) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_at:
            self._next_at = now + PROGRESS_SECONDS
            _tell(f"{result.redriven} of at most {result.ready} ...")


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Stop in good order at the first SIGINT or SIGTERM, so that what is held returns; cancel at the next one."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _message(fault: Fault, options: argparse.Namespace) -> str:
    if options.uri and fault.reason is Reason.AUTHENTICATION_FAILED:
        return f"RabbitMQ refuses the username or the password. Correct the URI or {PASSWORD_VARIABLE}."
    return fault.message


def _redriven(options: argparse.Namespace, name: str, result: Redriven) -> Iterable[str]:
    if options.output == "table":
        return redriven_lines(result)
    shown: Json = {
        "queue": name,
        "ready": result.ready,
        "selected": result.selected,
        "redriven": result.redriven,
        "kept": {str(kept): count for kept, count in result.kept.items()},
        "unread": result.unread,
        "gaveUp": result.gave_up,
    }
    return [_json(shown)]


def _no_match(queue: DeadLetterQueue) -> int:
    return _failed(f'No dead letter of queue "{queue.name}" matches.', NO_MATCH)


def _failed(message: str, code: int) -> int:
    _tell(message)
    return code


def _tell(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201  for the user, beside the output


def _json(value: Json) -> str:
    return json.dumps(value, indent=2)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        # A terminal may have an encoding without a character of a task type.
        encoding = sys.stdout.encoding or "utf-8"
        print(line.encode(encoding, errors="backslashreplace").decode(encoding))  # noqa: T201  the output
