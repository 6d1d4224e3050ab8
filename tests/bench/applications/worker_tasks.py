"""Tasks of `taskqueue_worker` that do nothing. The variable WITHOUT takes one feature away, to show what it costs."""

from typing import TypedDict

from taskqueue_worker import task


class Payload(TypedDict):
    """What the publisher sends."""

    task: str
    seconds: float


@task("audited")
async def audited(_: Payload) -> None:
    """Do nothing."""
