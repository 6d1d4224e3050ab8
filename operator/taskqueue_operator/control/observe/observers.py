"""One observer per endpoint, shared by all TaskQueues that name the same one, and gone with the last of them."""

import asyncio
from functools import partial
from typing import Final

import structlog

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Endpoint, VhostFactory
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.names import Key

from .events import ObserverEvents
from .observer import Observer

ANEW_SECONDS: Final = 5.0
"""After an observer has failed, its users are told after this time: one that fails at once must not be made hot."""


class Observers:
    """Keeps the observers that are in use."""

    def __init__(self, brokers: VhostFactory, listener: ObserverEvents, telemetry: Telemetry, clock: Clock) -> None:
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
            task = self._tasks[endpoint] = asyncio.create_task(observer.run(), name=f"observe {endpoint!r}")
            task.add_done_callback(partial(self._ended, observer))
        return self._observers[endpoint]

    def release(self, key: Key) -> None:
        """A TaskQueue reads no more; the last one of an endpoint ends its observer."""
        endpoint = self._users.pop(key, None)
        if endpoint is None:
            return
        if endpoint not in self._observers:
            return  # it failed, and was not made anew as yet
        self._observers[endpoint].follow(key)
        if endpoint not in self._users.values():
            del self._observers[endpoint]
            self._tasks.pop(endpoint).cancel()

    async def close(self) -> None:
        """End all observers and wait for them."""
        tasks = list(self._tasks.values())
        self._observers.clear()
        self._tasks.clear()
        self._users.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, observer: Observer, task: asyncio.Task[None]) -> None:
        """One that ended without being asked to reads no more: whoever uses its endpoint next has another one made."""
        if self._tasks.get(observer.endpoint) is not task:
            return
        bug = None if task.cancelled() else task.exception()
        structlog.get_logger("readers").error("observer failed", broker=observer.endpoint.address, exc_info=bug)
        del self._observers[observer.endpoint], self._tasks[observer.endpoint]
        asyncio.get_running_loop().call_later(ANEW_SECONDS, self._listener.on_broker_health, observer.keys)
