"""Rules by which the tasks of one type are tried again."""

import asyncio
from collections.abc import Callable

import pytest

from taskqueue_drain.dead_letter_target import DeadLetterTarget
from taskqueue_worker import Retry, RetryRule
from taskqueue_worker.retry_policy import RetryPolicy
from taskqueue_worker.run_outcome import Status
from taskqueue_worker.tasks import Registry
from tests.unit.worker.messages import channel_of, delivery, runner_of
from tests.unit.worker.test_settlement import Scene

RULE = RetryRule(
    attempts=4,
    max=100,
    on={OSError: RetryRule(attempts=9, initial=60), TimeoutError: RetryRule(initial=2)},
    never=(ValueError, ConnectionError),
)


@pytest.mark.parametrize(
    ("error", "attempts", "initial", "longest"),
    [
        (KeyError, 4, None, 100),
        (FileNotFoundError, 9, 60, 100),
        (TimeoutError, 4, 2, 100),
        (UnicodeError, 1, None, 100),
        (ConnectionResetError, 1, None, 100),
        (Retry, 4, None, 100),
    ],
)
def test_the_rule_of_the_most_derived_class_applies(
    error: type[BaseException], attempts: int, initial: float | None, longest: float
) -> None:
    rule = RULE.of(error)
    assert (rule.attempts, rule.initial, rule.max) == (attempts, initial, longest)


def test_never_does_not_apply_to_retry() -> None:
    assert RetryRule(attempts=4, never=(Exception,)).of(Retry).attempts == 4


def test_a_policy_under_a_rule_has_what_the_rule_states() -> None:
    policy = RetryPolicy(5, 8, 3600)
    assert policy.under(RetryRule()) == policy
    assert policy.under(RetryRule(attempts=9, initial=0.5, max=1)) == RetryPolicy(9, 0.5, 1)
    broker = RetryPolicy(5, 0, 3600, by_broker=True)
    assert broker.under(RetryRule(attempts=9)).max_attempts == 5, "the broker drops it after those"
    assert broker.under(RetryRule(attempts=2)).max_attempts == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: RetryRule(attempts=0),
        lambda: RetryRule(attempts=1001),
        lambda: RetryRule(attempts=True),
        lambda: RetryRule(attempts=1.5),  # type: ignore[arg-type]
        lambda: RetryRule(initial=-1),
        lambda: RetryRule(initial=float("nan")),
        lambda: RetryRule(max=32_769),
        lambda: RetryRule(never=("ValueError",)),  # type: ignore[arg-type]
        lambda: RetryRule(never=(int,)),  # type: ignore[arg-type]
        lambda: RetryRule(on={OSError: RULE}),
    ],
)
def test_a_rule_out_of_range_is_refused(make: Callable[[], RetryRule]) -> None:
    with pytest.raises((ValueError, TypeError), match="RetryRule"):
        make()


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("error", "attempt", "retried"),
    [(KeyError, 3, True), (KeyError, 4, False), (FileNotFoundError, 8, True), (ValueError, 1, False)],
)
async def test_a_failed_task_follows_its_rule(error: type[Exception], attempt: int, *, retried: bool) -> None:
    """The policy of the worker has 3 attempts."""
    scene, registry = Scene(DeadLetterTarget()), Registry()

    @registry.task("t", retry=RULE)
    async def handler(_: object) -> None:
        raise error

    delivered = delivery(headers={"x-attempt": attempt})
    assert await scene.settlement.settle(delivered, await runner_of(registry).run(delivered))
    assert len(scene.ladder.sent) == retried
    assert scene.broker.reasons() == ([] if retried else ["failed"])
    assert channel_of(delivered).settled == ["ack"]


@pytest.mark.looptime
async def test_a_task_is_cancelled_at_its_own_timeout_which_its_rule_knows_as_timeout_error() -> None:
    registry, deadlines = Registry(), []

    @registry.task("t", timeout=7, retry=RetryRule(never=(TimeoutError,)))
    async def handler(_: object, context: object) -> None:
        deadlines.append(context)
        await asyncio.sleep(1000)

    outcome = await runner_of(registry).run(delivery())
    assert asyncio.get_running_loop().time() == 7
    assert outcome.status is Status.TIMEOUT
    assert outcome.rule is not None
    assert outcome.rule.attempts == 1


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5"])
def test_a_timeout_that_is_not_positive_is_refused(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout="):

        @Registry().task("t", timeout=timeout)
        def handler(_: object) -> None: ...
