"""Executes drain plans: the one loop over their actions, for the operator and for the model that proves the protocol.

The loop does no I/O. It yields requests; its driver makes them and then resumes it. So an asynchronous driver and one
in simulated time execute the same actions, in the same order, with the same records in the worker pool.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple

from .actions import Action, RestoreReplicas, ScaleIn, SendCommand, WriteDeletionCost, WriteDrainToken
from .plan import Plan
from .protocol import Command
from .worker_pool import WorkerPool

MAX_PLANS: Final = 5
"""Plans in one execution. Each is made of what is known at its time, and may only prepare the next one."""


class Send(NamedTuple):
    """Send this command to this address."""

    address: str
    command: Command


Write = WriteDrainToken | WriteDeletionCost | ScaleIn | RestoreReplicas
Request = Send | Write


def execute(
    pool: WorkerPool, next_plan: Callable[[], Plan | None], clock: Callable[[], datetime]
) -> Iterator[tuple[Request, ...]]:
    """Execute plans until one of them ends the execution. Yields batches of requests, in order.

    Requests of one batch may be made concurrently. All of them are made before the loop is resumed. If one of them
    fails, the driver drops the loop: the next execution begins with a plan of what is known then.

    Args:
        pool: The workers; sent commands and a requested scale-in are recorded here before they are yielded.
        next_plan: Returns the next plan; None if the Deployment is gone.
        clock: Returns the present time.
    """
    for _ in range(MAX_PLANS):
        plan = next_plan()
        if plan is None:
            return
        for _kind, actions in groupby(plan.actions, key=_kind_of):
            yield tuple(_request(pool, action, clock()) for action in actions)
        if not plan.plan_again:
            return


def _kind_of(action: Action) -> object:
    return action.verb if isinstance(action, SendCommand) else type(action)


def _request(pool: WorkerPool, action: Action, now: datetime) -> Request:
    match action:
        case SendCommand(worker, verb):
            return Send(worker.address, pool.command(worker.uid, verb, now))
        case ScaleIn(_, generation, drain_token):
            pool.begin_scale_in(generation, drain_token, now)
            return action
        case WriteDrainToken() | WriteDeletionCost() | RestoreReplicas():
            return action
