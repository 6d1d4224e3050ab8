"""The strongest form: a task is remembered in the transaction in which its handler writes, or neither is done."""

from contextvars import ContextVar
from typing import Any, Final, Self

from taskqueue_worker.middleware import Call, Proceed
from taskqueue_worker.outcomes import Requeue
from taskqueue_worker.stores import PostgresStore, StoreUnavailableError
from taskqueue_worker.stores.keys import positive
from taskqueue_worker.stores.unavailable import Pauses

from .middleware import KEEP_SECONDS, Key, key_of, refusal
from .postgres_claims import CLAIM, STATE, TABLE, refused

LOCK_WAIT: Final = "SET LOCAL lock_timeout = '1s'"
"""How long a duplicate waits, and holds its slot, while the task runs elsewhere."""
PAUSE_SECONDS: Final = 5.0
"""After how long it comes back then."""

_connection: ContextVar[Any] = ContextVar("connection")


class OneTransaction:
    """The handler writes to PostgreSQL by `current_connection()`, in a transaction that also remembers the task.

    A worker that is lost leaves nothing: the database ends its transaction, and another worker runs the task at once.
    Each running task holds a connection.
    """

    def __init__(self, store: PostgresStore, *, key: Key | None = None, keep: float = KEEP_SECONDS) -> None:
        """Remember done tasks for `keep` seconds. `key` as in `Idempotent`."""
        self._store = store
        self._key = key
        self._keep = positive("keep", keep)
        self._pauses = Pauses()

    async def __aenter__(self) -> Self:
        """Do nothing: the store is opened by its first call."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self._store.close()

    async def __call__(self, call: Call, proceed: Proceed) -> object:
        """Run the task in a transaction, if it is neither running nor done."""
        key = key_of(call, self._key)
        try:
            async with self._store.transaction(TABLE) as connection:
                if key is not None:
                    await self._claim(connection, key)
                token = _connection.set(connection)
                try:
                    return await proceed()
                finally:
                    _connection.reset(token)
        except StoreUnavailableError as error:
            raise Requeue(str(error), delay=self._pauses.next_seconds()) from error

    async def _claim(self, connection: Any, key: str) -> None:  # noqa: ANN401 - of the library
        async with self._store.call():
            await connection.execute(LOCK_WAIT)
            try:
                claimed = await connection.fetchrow(CLAIM, key, self._keep, True)  # waits for one that runs
            except self._store.lock_not_available:
                raise Requeue(f"Task {key} runs elsewhere.", delay=PAUSE_SECONDS) from None
            await connection.execute("SET LOCAL lock_timeout = DEFAULT")
            if not claimed:
                raise refusal(key, refused(await connection.fetchrow(STATE, key)))
        self._pauses.reset()


def current_connection() -> Any:  # noqa: ANN401 - asyncpg.Connection
    """Return the connection of the transaction in which this handler runs. It must not be used by another task.

    Raises:
        LookupError: The task is not surrounded by `OneTransaction`.
    """
    return _connection.get()
