"""How many log lines one TaskQueue, one namespace and one broker host may cause."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

import structlog
from structlog.typing import EventDict

from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.allowance import Allowance

DROPPED: Final = "dropped_before"
"""Field of a line: how many lines were dropped before it, of its TaskQueue, namespace or broker host."""
_TASKQUEUE: Final = (bounds.TASKQUEUE_LOG_LINES_PER_SECOND, bounds.TASKQUEUE_LOG_LINES_AT_ONCE)
_GROUP: Final = (bounds.GROUP_LOG_LINES_PER_SECOND, bounds.GROUP_LOG_LINES_AT_ONCE)


class _Share:
    """What one TaskQueue, namespace or broker host may still log."""

    __slots__ = ("allowance", "dropped")

    def __init__(self, per_second: float, at_once: float) -> None:
        self.allowance = Allowance(per_second=per_second, at_once=at_once)
        self.dropped = 0


class LogShares:
    """Drops a line beyond a share; the next line of the share states how many were dropped.

    A line belongs to the TaskQueue of its field `taskqueue` and to the namespace of that, or to the host of its field
    `broker`. Other lines are never dropped.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._shares: OrderedDict[str, _Share] = OrderedDict()

    def __call__(self, _logger: object, _method: str, line: EventDict) -> EventDict:
        """Return the line; a processor of structlog.

        Raises:
            structlog.DropEvent: The line is beyond a share.
        """
        now, shares = self._clock(), list(self._shares_of(line))
        for share in shares:
            if not share.allowance.take(now):
                share.dropped += 1
                raise structlog.DropEvent
        dropped = sum(share.dropped for share in shares)
        for share in shares:
            share.dropped = 0
        return {**line, DROPPED: dropped} if dropped else line

    def _shares_of(self, line: EventDict) -> Iterator[_Share]:
        taskqueue, broker = line.get("taskqueue"), line.get("broker")
        if taskqueue is not None:
            yield self._share(f"taskqueue {taskqueue}", *_TASKQUEUE)
            yield self._share(f"namespace {str(taskqueue).partition('/')[0]}", *_GROUP)
        elif broker is not None:
            yield self._share(f"broker {broker}", *_GROUP)

    def _share(self, name: str, per_second: float, at_once: float) -> _Share:
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = _Share(per_second, at_once)
        self._shares.move_to_end(name)
        if len(self._shares) > bounds.LOG_SHARES:
            self._shares.popitem(last=False)
        return share
