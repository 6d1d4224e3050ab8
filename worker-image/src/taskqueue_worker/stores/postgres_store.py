"""A PostgreSQL, by asyncpg: it is made for asyncio, and needs no library of PostgreSQL in the image."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from taskqueue_worker.extras import library

from .address import address_of
from .unavailable import StoreUnavailableError

CALL_SECONDS: Final = 2.0
CONNECTIONS: Final = 10
_LOCK: Final = 7_461_735_101  # of those that make tables at the same time
_USES_PER_PURGE: Final = 500
_PURGED_ROWS: Final = 2 * _USES_PER_PURGE


@dataclass(frozen=True)
class Table:
    """A table of which rows expire, in the first schema of the user's search path.

    Attributes:
        name: Its name.
        definition: The statements that create it. They have no effect if it exists.
        expires: The column with the time of expiry.
    """

    name: str
    definition: str
    expires: str


class PostgresStore:
    """A pool of connections to a PostgreSQL, opened with the first call, on the event loop of that call.

    Attributes:
        address: Host and port, for messages.
    """

    def __init__(self, url: str, *, call_seconds: float = CALL_SECONDS, connections: int = CONNECTIONS) -> None:
        """Connect to nothing yet.

        Args:
            url: For example `postgresql://user:password@host:5432/database`.
            call_seconds: Longest time of one call.
            connections: Most connections of this process.

        Raises:
            MissingExtraError: The extra `postgres` is not installed.
            ValueError: The URL is none of a PostgreSQL.
        """
        self._asyncpg = library("asyncpg", "postgres")
        self.address = address_of(url, ("postgresql", "postgres"), 5432)
        self._url = url
        self._call_seconds = call_seconds
        self._connections = connections
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._uses: dict[Table, int] = {}

    async def row(self, table: Table, statement: str, *arguments: object) -> Any:  # noqa: ANN401 - asyncpg.Record | None
        """Execute one statement on a table, which is made if it is missing, and return its first row.

        Raises:
            StoreUnavailableError: It did not succeed in time.
        """
        async with self.connection(table) as connection, self.call():
            return await connection.fetchrow(statement, *arguments)

    @asynccontextmanager
    async def connection(self, table: Table) -> AsyncIterator[Any]:
        """Lend a connection to a database that has the table.

        Raises:
            StoreUnavailableError: There is none in time.
        """
        async with self.call():
            pool = await self._open()
            connection = await pool.acquire()
        try:
            async with self.call():
                await self._prepare(connection, table)
            yield connection
        except (StoreUnavailableError, asyncio.CancelledError):
            with suppress(self._asyncpg.InterfaceError):  # it is closed
                connection.terminate()  # it may still wait for an answer
            self._uses.pop(table, None)  # and its table may be gone
            raise
        finally:
            async with self.call():
                await pool.release(connection, timeout=self._call_seconds)

    @asynccontextmanager
    async def transaction(self, table: Table) -> AsyncIterator[Any]:
        """Lend a connection with a transaction, which is committed at the end and rolled back after an exception.

        Raises:
            StoreUnavailableError: It was not begun or not committed.
        """
        async with self.connection(table) as connection:
            transaction = connection.transaction()
            async with self.call():
                await transaction.start()
            try:
                yield connection
                # Fails if an error that the borrower has hidden ended the transaction: its COMMIT would roll back.
                await connection.execute("SELECT 1", timeout=self._call_seconds)
            except BaseException:
                with suppress(Exception):  # the connection is lost, and so is the transaction
                    async with self.call():
                        await transaction.rollback()
                raise
            async with self.call():
                await transaction.commit()

    @property
    def lock_not_available(self) -> type[Exception]:
        """The error of a statement that waits for a lock for too long."""
        error: type[Exception] = self._asyncpg.LockNotAvailableError
        return error

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Bound the time of calls of the library, and raise StoreUnavailableError for what it raises."""
        try:
            async with asyncio.timeout(self._call_seconds):
                yield
        except (self._asyncpg.PostgresError, self._asyncpg.InterfaceError, OSError) as error:  # TimeoutError is one
            raise StoreUnavailableError(f"PostgreSQL {self.address}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections; a later call opens others."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.terminate()

    async def _open(self) -> Any:  # noqa: ANN401 - of the library
        async with self._opening:
            if self._pool is None:
                self._pool = await self._asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._connections,
                    timeout=self._call_seconds,
                )
        return self._pool

    async def _prepare(self, connection: Any, table: Table) -> None:  # noqa: ANN401 - of the library
        """Make the table before its first use, and remove more expired rows than the uses since the last time made."""
        if table not in self._uses and await connection.fetchval("SELECT to_regclass($1)", table.name) is None:
            async with connection.transaction():
                # CREATE TABLE IF NOT EXISTS fails if two do it at once.
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
                await connection.execute(table.definition)
        self._uses[table] = (self._uses.get(table, -1) + 1) % _USES_PER_PURGE
        if not self._uses[table]:
            await connection.execute(_purge(table))


def _purge(table: Table) -> str:
    expired = f"SELECT ctid FROM {table.name} WHERE {table.expires} < now() LIMIT {_PURGED_ROWS} FOR UPDATE SKIP LOCKED"  # noqa: S608 - names of ours
    return f"DELETE FROM {table.name} WHERE ctid = ANY(ARRAY({expired}))"  # noqa: S608 - names of ours
