"""Monotonic time of the running event loop."""

import asyncio


def loop_time() -> float:
    """Return the time of the running loop, in seconds."""
    return asyncio.get_running_loop().time()
