"""A task of `taskqueue_worker` that does nothing. The variable WITHOUT takes one feature away: the rest is its cost."""

import os
from dataclasses import dataclass
from typing import Any

from taskqueue_worker import task
from taskqueue_worker.metrics import Metrics


@dataclass(frozen=True)
class Payload:
    """What the publisher sends; it is checked."""

    task: str
    seconds: float


if os.environ["WITHOUT"] == "metrics":
    Metrics.count_task = lambda *_, **__: None  # type: ignore[method-assign]  # the worker always counts


async def audited(_: Payload) -> None:
    """Do nothing."""


async def audited_without_types(_: dict[str, Any]) -> None:
    """Do nothing, with a payload that is not checked."""


task("audited")(audited_without_types if os.environ["WITHOUT"] == "payload" else audited)
