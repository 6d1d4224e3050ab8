"""For TASKQUEUE_MODULES, beside the tasks: `forget` lets the broker forget the consumer, and the worker learns nothing.

A worker without a proof is unhealthy after a second.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from taskqueue_drain import health
from taskqueue_worker import bounds, consume_proof, task
from taskqueue_worker.consumer import Consumer
from taskqueue_worker.delivery import Delivery

health.PATIENCE_SECONDS = 1.0  # type: ignore[misc]  # a constant everywhere else
bounds.CONSUMER_CHECK_SECONDS = 0.1  # type: ignore[misc]  # likewise
consume_proof.RPC_TIMEOUT_SECONDS = 1  # type: ignore[attr-defined]  # likewise

_started: list[tuple[Consumer, asyncio.AbstractEventLoop]] = []
_start = Consumer.start


async def start(self: Consumer, receive: Callable[[Delivery], None], *arguments: Any, **named: Any) -> None:  # noqa: ANN401
    await _start(self, receive, *arguments, **named)
    _started.append((self, asyncio.get_running_loop()))


Consumer.start = start  # type: ignore[method-assign]


@task("forget")
def forget(_: object) -> None:
    consumer, loop = _started[-1]

    async def cancel() -> None:
        await (await consumer.channel.get_underlay_channel()).basic_cancel(consumer.tag, nowait=True)

    asyncio.run_coroutine_threadsafe(cancel(), loop).result(10)
