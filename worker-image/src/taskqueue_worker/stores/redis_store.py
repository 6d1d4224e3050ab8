"""A Redis, or a server that speaks its protocol, such as Valkey."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from taskqueue_worker.extras import library

from .address import address_of
from .unavailable import StoreUnavailableError

CALL_SECONDS: Final = 2.0
CONNECTIONS: Final = 10


class RedisStore:
    """A pool of connections to a Redis, opened with the first call, on the event loop of that call.

    Each change is one script, so nothing is left half done.

    Attributes:
        address: Host and port, for messages.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "taskqueue",
        call_seconds: float = CALL_SECONDS,
        connections: int = CONNECTIONS,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: For example `redis://:password@host:6379/0`; `rediss://` for TLS.
            prefix: All keys begin with it and a colon.
            call_seconds: Longest time of one call.
            connections: Most connections of this process.

        Raises:
            MissingExtraError: The extra `redis` is not installed.
            ValueError: The URL is none of a Redis.
        """
        self._redis = library("redis", "redis")
        self._asyncio = library("redis.asyncio", "redis")
        self.address = address_of(url, ("redis", "rediss", "unix"), 6379)
        self._url = url
        self._prefix = prefix
        self._call_seconds = call_seconds
        self._connections = connections
        self._client: Any = None
        self._scripts: dict[str, Any] = {}

    async def run(self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:  # noqa: ANN401 - what the script returns
        """Run a Lua script.

        Raises:
            StoreUnavailableError: It did not succeed in time.
        """
        try:
            async with asyncio.timeout(self._call_seconds):
                return await self._script(script)([f"{self._prefix}:{key}" for key in keys], arguments)
        except (self._redis.RedisError, OSError) as error:  # TimeoutError is an OSError
            raise StoreUnavailableError(f"Redis {self.address}: {str(error) or type(error).__name__}") from error

    async def close(self) -> None:
        """Close the connections; a later call opens others."""
        client, self._client = self._client, None
        self._scripts.clear()
        if client is not None:
            await client.aclose()

    def _script(self, text: str) -> Any:  # noqa: ANN401 - of the library
        if self._client is None:
            self._client = self._open()
        if text not in self._scripts:
            self._scripts[text] = self._client.register_script(text)
        return self._scripts[text]

    def _open(self) -> Any:  # noqa: ANN401 - of the library
        pool = self._asyncio.BlockingConnectionPool.from_url(
            self._url,
            max_connections=self._connections,
            timeout=self._call_seconds,
            socket_timeout=self._call_seconds,
            socket_connect_timeout=self._call_seconds,
        )
        return self._asyncio.Redis.from_pool(pool)
