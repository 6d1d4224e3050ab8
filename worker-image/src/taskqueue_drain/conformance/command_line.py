"""The command line of the kit."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from .rules import RULES, Result, Verdict
from .run import NoBrokerError, Outcome, run
from .settings import NotValidError, Settings
from .task_template import BODY, PROPERTIES, TaskTemplate

NOT_USABLE: Final = 2
"""Exit code if nothing was tested."""
OUTPUT_LINES: Final = 20


def main(arguments: Sequence[str]) -> int:
    """Run the kit; return 0 if the worker keeps all rules, 1 if not, and 2 if nothing was tested."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        outcome = asyncio.run(_until_sigterm(settings))
    except (NotValidError, NoBrokerError) as error:
        sys.stderr.write(f"conformance: {error}\n")
        return NOT_USABLE
    except (KeyboardInterrupt, asyncio.CancelledError):  # the workers have been ended
        return NOT_USABLE
    sys.stdout.write(_document(outcome.verdicts) if options.json else _lines(outcome.verdicts))
    if outcome.output:
        lines = outcome.output.splitlines()[-OUTPUT_LINES:]
        sys.stderr.write("\n".join(("The end of the output of a worker that broke a rule:", *lines, "")))
    return int(any(verdict.result is not Result.PASS for verdict in outcome.verdicts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m taskqueue_drain.conformance",
        description="Says which rules of the control protocol a worker keeps (docs/conformance.md).",
    )
    parser.add_argument("--broker-url", default=os.environ.get("RABBITMQ_URL", ""), help="default: RABBITMQ_URL")
    parser.add_argument(
        "--message",
        default=BODY,
        help="body of a task: {seconds}: its length, {id}: its identity, {queue}: its queue; default: %(default)s",
    )
    parser.add_argument("--header", action="append", default=[], metavar="NAME=TEXT", help="a header of the tasks")
    parser.add_argument(
        "--property", action="append", default=[], metavar="NAME=TEXT", help=f"one of {', '.join(PROPERTIES)}"
    )
    parser.add_argument("--queue-type", choices=("quorum", "classic"), default="quorum")
    parser.add_argument("--rule", action="append", metavar="ID", help="test this rule; all rules if there is no --rule")
    parser.add_argument("--task-seconds", type=_seconds, default=2.0, help="length of the tasks. Default: 2")
    parser.add_argument("--start-seconds", type=_seconds, default=30.0, help="until the first report. Default: 30")
    parser.add_argument("--wait-seconds", type=_seconds, default=10.0, help="until anything else. Default: 10")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="starts the worker, with one slot")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 60:  # noqa: PLR2004 - a run ends
        raise ValueError
    return seconds


def _settings(options: argparse.Namespace) -> Settings:
    properties = dict(_pairs("--property", options.property))
    if unknown := set(properties) - set(PROPERTIES):
        raise NotValidError(f"--property {min(unknown)}: it must be one of {', '.join(PROPERTIES)}")
    template = TaskTemplate(options.message, dict(_pairs("--header", options.header)), properties)
    return Settings(
        command=options.command,
        broker_url=options.broker_url,
        template=template,
        rules=options.rule or tuple(RULES),
        queue_type=options.queue_type,
        task_seconds=options.task_seconds,
        start_seconds=options.start_seconds,
        wait_seconds=options.wait_seconds,
    )


def _pairs(option: str, texts: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise NotValidError(f"{option} {text}: it must be NAME=TEXT")
        yield name, value


async def _until_sigterm(settings: Settings) -> Outcome:
    """Run, and end the workers when the kit itself gets SIGTERM."""
    task = asyncio.ensure_future(run(settings))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _lines(verdicts: Sequence[Verdict]) -> str:
    lines = [f"{verdict.result:<11}{verdict.rule:<20}{verdict.reason}" for verdict in verdicts]
    counts = [f"{sum(verdict.result is result for verdict in verdicts)} {result}" for result in Result]
    return "\n".join((*lines, ", ".join(counts), ""))


def _document(verdicts: Sequence[Verdict]) -> str:
    rules = [{"id": one.rule, "result": one.result, "reason": one.reason} for one in verdicts]
    conforms = all(one.result is Result.PASS for one in verdicts)
    return json.dumps({"conforms": conforms, "rules": rules}, indent=2) + "\n"
