"""The settings of a worker, from environment variables (docs/worker-contract.md)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from taskqueue_drain.bounds import VARIABLE_CHARACTERS
from taskqueue_drain.consume_settings import ConsumeSettings
from taskqueue_drain.dead_letter_target import DeadLetterTarget
from taskqueue_drain.environment import (
    SettingsError,
    check_contract,
    dead_letter_target_of,
    is_linear,
    max_attempts_of,
    names,
    number,
    port_of,
)

from .bounds import LONGEST_DELAY_SECONDS, MOST_CHILD_MIB, MOST_CHILD_TASKS
from .pools.child_limits import ChildLimits
from .retry_policy import RetryPolicy

LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a worker."""

    name: str
    consume: ConsumeSettings
    modules: tuple[str, ...]
    http_port: int
    max_attempts: int = 5
    """Attempts of a task, before it is dead-lettered."""
    retry_policy: RetryPolicy | None = None
    """When a task whose handler fails is tried again; None if it is dead-lettered at once."""
    dead_letter_target: DeadLetterTarget = field(default_factory=DeadLetterTarget)
    child_limits: ChildLimits = field(default_factory=ChildLimits)
    """When a child that runs the tasks of `pool="process"` is replaced."""
    log_level: int = logging.INFO
    """The least severe log lines to write."""
    pod: str = ""
    """UID of the pod; empty outside Kubernetes."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and validate the settings.

        Raises:
            SettingsError, BrokerError: A variable is missing or not valid; the text names it and the way out.
        """
        check_contract(environment)
        return cls(
            name=environment.get("TASKQUEUE_NAME") or "local/worker",
            consume=ConsumeSettings.from_environment(environment),
            modules=names(environment, "TASKQUEUE_MODULES", default="tasks"),
            http_port=port_of(environment),
            max_attempts=max_attempts_of(environment),
            retry_policy=_retry_policy(environment),
            dead_letter_target=dead_letter_target_of(environment),
            child_limits=_child_limits(environment),
            log_level=_log_level(environment),
            pod=environment.get("TASKQUEUE_POD_UID", ""),
        )


def _log_level(environment: Mapping[str, str]) -> int:
    text = environment.get("TASKQUEUE_LOG_LEVEL") or "info"
    if text.lower() not in LEVELS:
        raise SettingsError(
            f"TASKQUEUE_LOG_LEVEL is {text[:VARIABLE_CHARACTERS]!r}. "
            f"Set one of {', '.join(LEVELS)}, or unset it for info."
        )
    return logging.getLevelNamesMapping()[text.upper()]


def _retry_policy(environment: Mapping[str, str]) -> RetryPolicy | None:
    """Return None without an initial delay: the exchange that returns retries to their queue may not exist."""
    seconds = {
        variable: number(environment, variable, default=default, minimum=minimum, maximum=LONGEST_DELAY_SECONDS)
        for variable, default, minimum in (
            ("TASKQUEUE_RETRY_INITIAL_SECONDS", 0, 0),
            ("TASKQUEUE_RETRY_MAX_SECONDS", 3600, 1),
        )
    }
    initial, longest = seconds.values()
    if not (initial or is_linear(environment)):
        return None
    return RetryPolicy(max_attempts_of(environment), initial, longest, by_broker=is_linear(environment))


def _child_limits(environment: Mapping[str, str]) -> ChildLimits:
    return ChildLimits(
        tasks=number(environment, "TASKQUEUE_CHILD_MAX_TASKS", default=0, minimum=0, maximum=MOST_CHILD_TASKS),
        memory_bytes=number(environment, "TASKQUEUE_CHILD_MEMORY_MIB", default=0, minimum=0, maximum=MOST_CHILD_MIB)
        * 1024
        * 1024,
    )
