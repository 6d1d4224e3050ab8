"""A story of workers who go, are called back, and go at last, while a test breaks what it likes.

Four workers, of which two soon have nothing to do; then the maximum is lowered below those who work; then there is more
to do than before; then nothing.
"""

import asyncio
from collections.abc import Collection

from taskqueue_operator.drain.protocol import State

from .conftest import World
from .fake_cluster import KEY, taskqueue
from .shift import Shift, begin_shift, mark

SCALING = {
    "maxReplicas": 4,
    "readyPerReplica": 1,
    "idleSeconds": 0,
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
}
CALM = 130
"""Seconds after which all is over, once nothing breaks any more: longer than a lease and a silence."""
TAKEOVER = 20.0
"""Seconds until another one leads, at the most."""
MOST_COMMANDS = 100
"""That eight workers are sent in all, also by two operators at odds."""
LOWERED, RAISED = 23.0, 48.0
"""When the maximum is lowered below those who work, and when it is raised again."""


async def story(world: World, shift: Shift | None = None) -> Shift:
    """Let it happen, and wait for its end; faults come from elsewhere."""
    shift = shift or begin_shift(world)
    world.cluster.put(taskqueue(scaling=SCALING))
    await until(3)
    shift.publish(2, seconds=60)
    shift.publish(2, seconds=5)
    await until(LOWERED)
    world.cluster.put(taskqueue(scaling=SCALING | {"maxReplicas": 1}))
    await until(RAISED)
    shift.publish(4, seconds=10)
    world.cluster.put(taskqueue(scaling=SCALING))
    for _ in range(CALM):
        await asyncio.sleep(1)
        if not (shift.waiting or shift.running or shift.of(KEY) or mark(world)):
            break
    await world.settle(TAKEOVER + 5)
    return shift


async def until(second: float) -> None:
    """Wait until so many seconds have passed since the beginning."""
    await asyncio.sleep(second - asyncio.get_running_loop().time())


def unharmed(world: World, shift: Shift, *, times: Collection[int] = (1,), stay: int = 0) -> None:
    """Nobody went who had not stepped aside, all tasks are done so often, and nobody is there who should not."""
    assert {each.state for each in shift.removed} == {State.DRAINED}
    assert len(shift.done) == 8
    assert set(shift.done.values()) <= set(times)
    assert len(shift.of(KEY)) == world.replicas() == stay
    assert {each.state for each in shift.of(KEY)} <= {State.CONSUMING}
    assert mark(world) is None or stay, "it stands while somebody is to go"
    assert sum(len(each.sent) for each in world.broker.conversations) <= MOST_COMMANDS
