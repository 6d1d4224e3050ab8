"""What the runtimes on aio-pika tell the control channel."""

from contextlib import nullcontext
from unittest.mock import Mock

import pytest

from taskqueue_drain.aio_pika.runtime import AioPikaRuntime


@pytest.mark.parametrize("drained", [False, True])
async def test_tasks_wake_the_control_channel_only_during_a_drain(*, drained: bool) -> None:
    runtime = AioPikaRuntime()
    if drained:
        runtime.stop_consuming()
    runtime.changed.clear()
    woken = []

    async def task() -> bool:
        woken.append(runtime.changed.is_set())
        runtime.changed.clear()
        return True

    await runtime.perform(Mock(), nullcontext(), task)

    assert [*woken, runtime.changed.is_set()] == [drained, drained]
    assert runtime.figures().completed == 1
