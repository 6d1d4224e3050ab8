"""Runs a task once, as far as a store can tell."""

import random
from collections.abc import Callable
from typing import Any, Final, Literal, Self

import structlog

from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Duplicate, Requeue
from taskqueue_worker.stores import PostgresStore, Store, StoreUnavailableError
from taskqueue_worker.stores.keys import key as bounded_key
from taskqueue_worker.stores.keys import positive
from taskqueue_worker.stores.unavailable import OnUnavailable, Pauses, report_end

from .claims import Claim, Claims
from .lease import Lease
from .postgres_claims import PostgresClaims
from .redis_claims import RedisClaims

KEEP_SECONDS: Final = 24 * 3600.0
LEASE_SECONDS: Final = 60.0
LONGEST_LEASE_SECONDS: Final = 3600

_log = structlog.get_logger("idempotency")

Key = Callable[[Any], object]
"""The identity of a task, from its payload; None if it has none."""


class Idempotent:
    """A task whose id was done before is acknowledged without a run; one that runs elsewhere comes back later.

    A message without an id is run as without this middleware.
    """

    def __init__(
        self,
        store: Store,
        *,
        key: Key | None = None,
        keep: float = KEEP_SECONDS,
        lease: float = LEASE_SECONDS,
        on_unavailable: Literal["retry", "run"] = "retry",
    ) -> None:
        """Remember done tasks in a store.

        Args:
            store: Where.
            key: The identity of a task; by default the `message_id`.
            keep: How many seconds a done task is remembered.
            lease: After how many seconds another worker may take over from one that is lost.
            on_unavailable: `retry`: a task waits until the store is back. `run`: it runs without the store.
        """
        self._store = store
        self._claims: Claims = PostgresClaims(store) if isinstance(store, PostgresStore) else RedisClaims(store)
        self._key = key
        self._keep = positive("keep", keep)
        self._lease = positive("lease", lease, LONGEST_LEASE_SECONDS)
        self._on_unavailable = OnUnavailable(on_unavailable)
        self._pauses = Pauses()

    async def __aenter__(self) -> Self:
        """Do nothing: the store is opened by its first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self._store.close()

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Run the task if it is neither running nor done."""
        key = key_of(call, self._key)
        if key is None:
            return await proceed()
        try:
            claim = await self._claims.claim(key, self._lease)
        except StoreUnavailableError as error:
            if self._on_unavailable is OnUnavailable.RETRY:
                raise Requeue(str(error), delay=self._pauses.next_seconds()) from error
            _log.warning("task runs without its store", key=key, reason=str(error))
            return await proceed()
        self._pauses.reset()
        if claim.fence is None:
            raise refusal(key, claim)
        return await self._run(Lease(self._claims, key, claim.fence, self._lease), proceed)

    async def _run(self, lease: Lease, proceed: Proceed) -> object:
        try:
            async with lease.held():
                result = await proceed()
        except BaseException:
            await lease.release()
            raise
        if reason := await report_end(lambda: lease.finish(self._keep)):
            _log.error("task done, but not remembered", fence=lease.fence, reason=reason)
        return result


def key_of(call: Call, key: Key | None) -> str | None:
    """Return the key of a task, which is one of its type."""
    identity = call.context.task_id if key is None else key(call.payload)
    if identity is None:
        return None
    return bounded_key(f"{call.task.type}:{identity}")


def refusal(key: str, claim: Claim) -> Duplicate | Requeue:
    """Return what a refused claim means: the task is done, or runs elsewhere."""
    if claim.is_done:
        return Duplicate(f"Task {key} is done.")
    pause = claim.seconds + random.random()  # noqa: S311 - spreads load
    return Requeue(f"Task {key} runs elsewhere; its lease lasts {claim.seconds:.0f} s.", delay=pause)
