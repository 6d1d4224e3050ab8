"""Waits for an answer of another process."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.cluster.progress import until

TIMEOUT_SECONDS: Final = 120.0


def eventually(question: Callable[[], Any], *expected: object, seconds: float = TIMEOUT_SECONDS) -> Any:  # noqa: ANN401  JSON
    """Ask until the answer is one of those expected (or true, if none is given), and return it."""
    answers: list[Any] = [None]

    def answered() -> bool:
        answers[0] = question()
        return answers[0] in expected if expected else bool(answers[0])

    try:
        until(answered, "the expected answer", seconds=seconds, every=0.2)
    except TimeoutError:
        raise AssertionError(f"expected {_either(expected)}, last answer {answers[0]!r}") from None
    return answers[0]


def _either(expected: Iterable[Any]) -> str:
    return " or ".join(map(repr, expected)) or "something"
