"""The options of `taskqueue-operator dlq`."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from taskqueue_operator.dead_letters.selection import Selection
from taskqueue_operator.resource.bounds import (
    DEAD_LETTERS_HELD,
    DEAD_LETTERS_HELD_AT_MOST,
    DEAD_LETTERS_SHOWN,
    REDRIVES_PER_SECOND,
)
from taskqueue_operator.resource.names import Key

from .target import PASSWORD_VARIABLE, URI_VARIABLE, Connection, UsageError

RATE: Final = 100.0
LOWEST_RATE: Final = 0.1
FIRST: Final = 10
EXIT_CODES: Final = f"""\
exit codes:
  0    done
  1    Kubernetes or the broker cannot be used; the message says what to do
  2    an option is missing or wrong
  3    no dead letter matches
  4    redrive, purge: selected dead letters stay, or not all dead letters were read
  5    purge: not confirmed
  130  ended by a signal; repeat the command to continue

A URI without password uses the environment variable {PASSWORD_VARIABLE}. The variable {URI_VARIABLE} replaces --uri.
"""


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line. A wrong one ends the process with code 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    options.uri = options.uri or ("" if options.taskqueue else environment.get(URI_VARIABLE, ""))
    try:
        _check(options)
    except UsageError as error:
        parser.error(str(error))
    return options


def selection(options: argparse.Namespace) -> Selection:
    """Return which dead letters are selected."""
    return Selection(options.id, options.type, options.reason, options.error_class)


def connection(options: argparse.Namespace) -> Connection:
    """Return how to connect without Kubernetes."""
    return Connection(options.uri, options.ca_file, options.cert_file, options.key_file, options.management_uri)


def taskqueue_key(text: str) -> Key:
    """Parse `NAMESPACE/NAME`."""
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/NAME")
    return Key(namespace, name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="taskqueue-operator dlq",
        description="Dead letters of a TaskQueue, or of any queue of a broker.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add(commands, "list", "count dead letters by task type, reason and exception class")
    show = _add(commands, "show", "show the oldest dead letters of a group, or those with an id")
    show.add_argument(
        "--first", type=_count(DEAD_LETTERS_SHOWN), default=FIRST, metavar="N", help=f"how many (default: {FIRST})"
    )
    show.add_argument("--body", action="store_true", help="also show the beginning of the body")
    redrive = _add(commands, "redrive", "return dead letters to their queue")
    redrive.add_argument("--rate", type=_rate, default=RATE, metavar="N", help=f"per second (default: {RATE:g})")
    redrive.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="QUEUE",
        help="queue that dead letters may return to; repeatable. Default: the queue of the TaskQueue, or the name of "
        "the dead-letter queue without .dlq. With one --to, dead letters of unknown origin go there as well",
    )
    purge = _add(commands, "purge", "delete dead letters")
    purge.add_argument("--yes", action="store_true", help="do not ask for a confirmation")
    for command in (redrive, purge):
        command.add_argument("--all", action="store_true", help="all dead letters of the queue")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=text, description=text, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("taskqueue", nargs="?", type=taskqueue_key, metavar="NAMESPACE/NAME", help="the TaskQueue")
    command.add_argument("--uri", default="", help="amqp[s]://USER@HOST[:PORT][/VHOST], instead of a TaskQueue")
    command.add_argument("--queue", metavar="NAME", help="the dead-letter queue")
    command.add_argument("--ca-file", type=Path, metavar="FILE", help="certificate authorities of the broker")
    command.add_argument("--cert-file", type=Path, metavar="FILE", help="client certificate")
    command.add_argument("--key-file", type=Path, metavar="FILE", help="its key")
    command.add_argument("--management-uri", default="", metavar="URI", help="default: port 15672 or 15671 of the host")
    command.add_argument(
        "--no-delivery-limit",
        action="store_true",
        help="the queue has no delivery limit; do not check it (RabbitMQ before 4.3)",
    )
    command.add_argument(
        "--limit",
        type=_count(DEAD_LETTERS_HELD_AT_MOST),
        default=DEAD_LETTERS_HELD,
        metavar="N",
        help=f"hold at most so many dead letters unacknowledged (default: {DEAD_LETTERS_HELD})",
    )
    command.add_argument("--output", "-o", choices=("table", "json"), default="table")
    command.add_argument("--id", help="only those with this message_id")
    command.add_argument("--type", help="only those of this task type")
    command.add_argument("--reason", help="only those with this reason")
    command.add_argument("--class", dest="error_class", help="only those with this exception class")
    return command


def _check(options: argparse.Namespace) -> None:
    if bool(options.taskqueue) == bool(options.uri):
        raise UsageError("name a TaskQueue as NAMESPACE/NAME, or a broker with --uri and --queue")
    if options.uri and not options.queue:
        raise UsageError("--uri requires --queue, the name of the dead-letter queue")
    selected = selection(options)
    if options.command in {"redrive", "purge"} and options.all == (not selected.is_all):
        raise UsageError("select dead letters with --id, --type, --reason and --class, or all of them with --all")


def _count(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        valid = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
        if not valid or not 0 < int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    return count


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not LOWEST_RATE <= rate <= REDRIVES_PER_SECOND:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate from {LOWEST_RATE:g} to {REDRIVES_PER_SECOND:g}")
    return rate
