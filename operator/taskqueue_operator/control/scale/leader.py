"""The leader that drains: as which it sends commands, and whether it still leads beside a later drain annotation."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from taskqueue_operator.control.drain_state import DrainState
from taskqueue_operator.drain.protocol import FencingToken
from taskqueue_operator.resource.names import Key

TOKEN_REPLACEMENT_PERIOD: Final = timedelta(minutes=1)
"""Minimum time between two replacements of a drain annotation that no leader wrote."""

_log = structlog.get_logger("drain")


async def _unconfirmed() -> bool:
    return False


class Leader(NamedTuple):
    """The sender of commands.

    Attributes:
        installation: The operator's installation.
        epoch: The epoch of its present leader.
        confirm: Reads the Lease: whether it still names this leader.
    """

    installation: str
    epoch: int
    confirm: Callable[[], Awaitable[bool]] = _unconfirmed

    async def leads_beside(self, key: Key, drain_token: str, drain: DrainState, now: datetime) -> bool:
        """Whether no later leader wrote the drain annotation: the Lease, read now, still names this one.

        Then a client without the Lease wrote it, such as a restored backup. It is replaced, but not again and again:
        a second operator would write it anew each time.
        """
        token, replaced_at = FencingToken.parse(drain_token), drain.token_replaced_at
        if token is None or token.epoch <= self.epoch:
            return False
        if replaced_at is not None and now - replaced_at < TOKEN_REPLACEMENT_PERIOD:
            return False
        if not await self.confirm():
            return False
        drain.token_replaced_at = now
        _log.warning("drain annotation of no leader", taskqueue=str(key), annotation=str(token), epoch=self.epoch)
        return True
