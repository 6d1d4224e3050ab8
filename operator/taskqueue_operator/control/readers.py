"""One observer per endpoint, shared by all TaskQueues that name the same one, and gone with the last of them."""

import asyncio

from taskqueue_operator.resource.names import Key

from .clock import Clock
from .listener import Listener
from .observe import Observer
from .ports import Brokers, Endpoint
from .telemetry import Telemetry


class Readers:
    """Keeps the observers that are in use."""

    def __init__(self, brokers: Brokers, listener: Listener, telemetry: Telemetry, clock: Clock) -> None:
        self._brokers = brokers
        self._listener = listener
        self._telemetry = telemetry
        self._clock = clock
        self._observers: dict[Endpoint, Observer] = {}
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}
        self._users: dict[Key, Endpoint] = {}

    def observers(self) -> list[Observer]:
        """List the observers that run."""
        return list(self._observers.values())

    def use(self, key: Key, endpoint: Endpoint) -> Observer:
        """Give a TaskQueue the observer of its endpoint; what it used before is let go."""
        if self._users.get(key) != endpoint:
            self.release(key)
            self._users[key] = endpoint
        if endpoint not in self._observers:
            broker = self._brokers.connect(endpoint)
            observer = Observer(endpoint, broker, self._listener, self._telemetry, self._clock)
            self._observers[endpoint] = observer
            self._tasks[endpoint] = asyncio.create_task(observer.run(), name=f"observe {endpoint!r}")
        return self._observers[endpoint]

    def release(self, key: Key) -> None:
        """A TaskQueue reads no more; the last one of an endpoint ends its observer."""
        endpoint = self._users.pop(key, None)
        if endpoint is None:
            return
        self._observers[endpoint].follow(key)
        if endpoint not in self._users.values():
            del self._observers[endpoint]
            self._tasks.pop(endpoint).cancel()

    async def close(self) -> None:
        """End all observers and wait for them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._observers.clear()
        self._tasks.clear()
        self._users.clear()
