"""The one clock of the control loops: wall time at the start, then the event loop's time, which never jumps."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def loop_clock(start: datetime | None = None) -> Clock:
    """Return a clock for the running event loop; with a virtual loop its time is virtual too.

    Args:
        start: The time that it shows now; None for the wall time.
    """
    loop = asyncio.get_running_loop()
    started_at, origin = start or datetime.now(UTC), loop.time()
    return lambda: started_at + timedelta(seconds=loop.time() - origin)


def now() -> float:
    """Return the running loop's time, in seconds."""
    return asyncio.get_running_loop().time()


async def sleep_until(moment: float) -> None:
    """Sleep until a moment of the loop's time; yields once even if it has passed."""
    await asyncio.sleep(max(0.0, moment - now()))
