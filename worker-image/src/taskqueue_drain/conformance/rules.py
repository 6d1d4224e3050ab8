"""The rules, by the ids that docs/control-protocol.md has, and what the kit has found about each."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RULES: Final = {
    "report-fields": "each report has all fields, with the right types",
    "report-address": "reports go to the exchange with the right properties",
    "report-times": "the worker reports what changes at once, and periodically",
    "own-connection": "reports and commands have a connection of their own",
    "drain": "no task starts, what has not begun returns by basic.nack, what runs ends",
    "drained-is-certain": "drained is reported only when no message can arrive any more",
    "unconfirmed-drain": "a drain that the broker does not confirm within 4 s is refused, and harms no running task",
    "late-message": "a message that arrives after basic.cancel-ok returns, and the proof is repeated",
    "lease": "a drain ends with its lease, which each further drain renews",
    "undrain": "an undrained worker consumes again, with new consumer tags",
    "order": "commands with a lower fencing token or of another installation are refused",
    "duplicates": "a repeated command has the same effect and the same answer",
    "incarnation": "a command for another incarnation is ignored",
    "errors": "a command that is not valid is refused and has no effect",
    "lost-connection": "a drain outlives the connection, and its lease expires without one",
    "sigterm": "the worker returns what has not begun, finishes what runs, and exits with code 0",
    "healthz": "/healthz returns 200 while the worker consumes, is drained, or cannot connect",
    "readyz": "/readyz returns 200 while the worker consumes or is draining, and not when it is drained or leaving",
}


class Result(StrEnum):
    """What is known of a rule."""

    PASS = "PASS"
    FAIL = "FAIL"
    NOT_TESTED = "NOT TESTED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result for one rule, with the reason, or else with what the rule says."""

    rule: str
    result: Result
    reason: str


class BrokenError(Exception):
    """A scenario cannot go on."""


class Findings:
    """What one scenario finds about the rules that it tests.

    Attributes:
        is_doubtful: Whether the moment of the test had passed: the scenario is then repeated, if it can be.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        self.is_doubtful = False
        self._untested = set(rules)
        self._passed: set[str] = set()
        self._failed: dict[str, str] = {}
        self._broken = ""

    def check(self, rule: str, reason: str, *, holds: bool) -> None:
        """Note whether the worker keeps the rule; the reason says what is wrong if it does not."""
        self._untested.discard(rule)
        if holds:
            self._passed.add(rule)
        else:
            self._failed.setdefault(rule, reason)

    def break_off(self, reason: str) -> None:
        """The scenario has ended early: rules that it has not tested stay so."""
        self._broken = reason

    @property
    def is_broken(self) -> bool:
        """Whether the worker breaks a rule, or the scenario has ended early."""
        return bool(self._failed or self._broken)

    def verdict(self, rule: str) -> Verdict | None:
        """Give the result for one rule; None if the scenario does not test it."""
        if rule in self._failed:
            return Verdict(rule, Result.FAIL, self._failed[rule])
        if rule in self._untested:
            return Verdict(rule, Result.NOT_TESTED, self._broken)
        return Verdict(rule, Result.PASS, RULES[rule]) if rule in self._passed else None


def merged(findings: Iterable[Findings]) -> list[Verdict]:
    """Give one verdict for each rule: one failure breaks it."""
    found = list(findings)
    return [_worst(rule, [verdict for one in found if (verdict := one.verdict(rule))]) for rule in RULES]


def _worst(rule: str, verdicts: list[Verdict]) -> Verdict:
    for result in (Result.FAIL, Result.NOT_TESTED, Result.PASS):
        for verdict in verdicts:
            if verdict.result is result:
                return verdict
    return Verdict(rule, Result.NOT_TESTED, "no scenario tests it")
