"""Reads the figures of a vhost from the management API."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from taskqueue_operator.scaling.reading import Sweep

from .listing import in_slices
from .management import Management

SWEEP_TIMEOUT_SECONDS: Final = 4.0
"""Shorter than the sweep period, so that a lost sweep does not delay the next one."""
RUNNING: Final = frozenset({"running", "idle", "flow"})
"""States in which a queue's figures are valid: `flow` throttles publishers, `idle` is `running` in old versions."""


async def read_sweep(management: Management, clock: Callable[[], datetime]) -> Mapping[str, Sweep]:
    """Read the figures of every queue, without pagination: one page would cost the broker as much as the whole list.

    Raises:
        BrokerFault: The management API cannot be used.
    """
    at = clock()
    items = await management.read(
        "queues/{vhost}",
        disable_stats="true",
        enable_queue_totals="true",
        columns="name,state,messages,messages_ready,messages_unacknowledged",
        seconds=SWEEP_TIMEOUT_SECONDS,
    )
    sweeps: dict[str, Sweep] = {}
    async for item in in_slices(items):
        sweep = _sweep(item, at)
        other = sweeps.get(item["name"])
        sweeps[item["name"]] = sweep if other is None else sweep.merge_worst(other)
    return sweeps


def _sweep(item: dict[str, Any], at: datetime) -> Sweep:
    total, ready, unacked = (item.get(f"messages{state}") for state in ("", "_ready", "_unacknowledged"))
    return Sweep(
        at,
        present=True,
        running=item.get("state") in RUNNING,
        minority=item.get("state") == "minority",
        ready=ready,
        unacked=unacked,
        # No figure of the listing counts them, but the total includes them.
        deferred=None if total is None or ready is None or unacked is None else max(0, total - ready - unacked),
    )
