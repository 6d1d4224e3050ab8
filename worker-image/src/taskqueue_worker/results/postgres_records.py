"""Records in PostgreSQL: a row for each task."""

from typing import Final

import orjson

from taskqueue_worker.stores import PostgresStore
from taskqueue_worker.stores.postgres_store import Table

from .records import Fields, Rule, Written

_TABLE: Final = Table(
    "taskqueue_tasks",
    """
    CREATE TABLE IF NOT EXISTS taskqueue_tasks (
        key text PRIMARY KEY,
        fields jsonb NOT NULL,
        expires_at timestamptz NOT NULL
    );
    CREATE INDEX IF NOT EXISTS taskqueue_tasks_expires_at ON taskqueue_tasks (expires_at);
    """,
    expires="expires_at",
)
_WRITE: Final = """
    INSERT INTO taskqueue_tasks AS task (key, fields, expires_at)
    VALUES ($1, $2::jsonb, clock_timestamp() + make_interval(secs => $3))
    ON CONFLICT (key) DO UPDATE SET
        fields = CASE WHEN task.expires_at < clock_timestamp() THEN excluded.fields
                      ELSE task.fields || excluded.fields END,
        expires_at = excluded.expires_at
    WHERE task.expires_at < clock_timestamp() OR (task.fields->>'state' <> 'done' AND (
        $4 = 'always' OR ($4 = 'same_run' AND task.fields->>'run' = excluded.fields->>'run')))
    RETURNING fields->>'checkpoint' AS checkpoint
"""
_READ: Final = "SELECT fields FROM taskqueue_tasks WHERE key = $1 AND expires_at > clock_timestamp()"


class PostgresRecords:
    """Records in a PostgreSQL."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    async def write(self, key: str, fields: Fields, rule: Rule, keep_seconds: float) -> Written:
        """See `Records.write`."""
        document = orjson.dumps({"run": "", **fields}).decode()
        row = await self._store.row(_TABLE, _WRITE, key, document, float(keep_seconds), rule.value)
        return Written(row is not None, (row["checkpoint"] if row else None) or "")

    async def read(self, key: str) -> Fields | None:
        """See `Records.read`."""
        row = await self._store.row(_TABLE, _READ, key)
        fields: Fields | None = None if row is None else orjson.loads(row["fields"])
        return fields
