"""Claims in PostgreSQL: one row for each key, without effect when its time is over."""

from collections.abc import Mapping
from typing import Any, Final

from taskqueue_worker.stores import PostgresStore
from taskqueue_worker.stores.postgres_store import Table

from .claims import Claim

TABLE: Final = Table(
    "taskqueue_claims",
    """
    CREATE TABLE IF NOT EXISTS taskqueue_claims (
        key text PRIMARY KEY,
        fence bigint NOT NULL,
        is_done boolean NOT NULL,
        until timestamptz NOT NULL
    );
    CREATE INDEX IF NOT EXISTS taskqueue_claims_until ON taskqueue_claims (until);
    """,
    expires="until",
)
_FENCE: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_UNTIL: Final = "clock_timestamp() + make_interval(secs => {})"

CLAIM: Final = f"""
    INSERT INTO taskqueue_claims AS claim (key, fence, is_done, until)
    VALUES ($1, {_FENCE}, $3, {_UNTIL.format("$2")})
    ON CONFLICT (key) DO UPDATE
    SET fence = greatest(claim.fence + 1, excluded.fence), is_done = $3, until = excluded.until
    WHERE claim.until < clock_timestamp()
    RETURNING fence
"""  # noqa: S608 - texts of ours
STATE: Final = """
    SELECT is_done, extract(epoch FROM until - clock_timestamp())::float8 AS seconds
    FROM taskqueue_claims WHERE key = $1
"""
_PUT: Final = f"""
    INSERT INTO taskqueue_claims AS claim (key, fence, is_done, until)
    VALUES ($1, $2, $3, {_UNTIL.format("$4")})
    ON CONFLICT (key) DO UPDATE SET is_done = $3, until = excluded.until
    WHERE claim.fence = $2 AND NOT claim.is_done
    RETURNING fence
"""  # noqa: S608 - texts of ours
_RELEASE: Final = "DELETE FROM taskqueue_claims WHERE key = $1 AND fence = $2 AND NOT is_done"


class PostgresClaims:
    """Claims in a PostgreSQL."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def claim(self, key: str, seconds: float) -> Claim:
        """See `Claims.claim`."""
        claimed = await self._store.row(TABLE, CLAIM, key, seconds, False)
        return Claim(claimed["fence"]) if claimed else refused(await self._store.row(TABLE, STATE, key))

    async def hold(self, key: str, fence: int, seconds: float) -> bool:
        """See `Claims.hold`."""
        return await self._store.row(TABLE, _PUT, key, fence, False, seconds) is not None

    async def finish(self, key: str, fence: int, seconds: float) -> bool:
        """See `Claims.finish`."""
        return await self._store.row(TABLE, _PUT, key, fence, True, seconds) is not None

    async def release(self, key: str, fence: int) -> None:
        """See `Claims.release`."""
        await self._store.row(TABLE, _RELEASE, key, fence)


def refused(state: Mapping[str, Any] | None) -> Claim:
    """Describe what refused a claim; None if that has ended since."""
    return Claim(None) if state is None else Claim(None, state["is_done"], max(0.0, state["seconds"]))
