"""A task of `taskqueue_worker` that computes in a child."""

import os
from typing import Any

from taskqueue_worker import task

STEPS = int(os.environ["STEPS"])


@task("audited", pool="process")
def audited(_: dict[str, Any]) -> None:
    """Compute."""
    sum(step * step for step in range(STEPS))
