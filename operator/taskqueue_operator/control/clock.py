"""Time as the control loop knows it: wall time at the start, then the event loop's own, which never jumps."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def loop_clock(start: datetime | None = None) -> Clock:
    """Make a clock for the running event loop; with a virtual loop its time is virtual too."""
    loop = asyncio.get_running_loop()
    begun, origin = start or datetime.now(UTC), loop.time()
    return lambda: begun + timedelta(seconds=loop.time() - origin)
