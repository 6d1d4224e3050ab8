"""The share of each control channel in the reports that this process reads."""

import asyncio

from taskqueue_operator.resource.bounds import REPORTS_PER_SECOND, REPORTS_PER_TURN


class ReportBudget:
    """Gives turns to control channels, one after the other, so that a flood on one of them delays no other one."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until this control channel may read its next REPORTS_PER_TURN reports."""
        async with self._turn:
            await asyncio.sleep(REPORTS_PER_TURN / REPORTS_PER_SECOND)
