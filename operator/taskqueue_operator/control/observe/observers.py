"""One observer per endpoint, shared by all TaskQueues on that endpoint, and ended with the last of them."""

import asyncio
from collections import Counter
from functools import partial
from typing import Final

import structlog

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.ports import Endpoint, VhostFactory
from taskqueue_operator.control.telemetry import Telemetry
from taskqueue_operator.resource.names import Key

from .events import ObserverEvents
from .observer import Observer
from .shares import Shares

RESTART_SECONDS: Final = 5.0
"""Delay before restarting a crashed observer, so that one that crashes on start does not spin."""

_log = structlog.get_logger("observe")


class Observers:
    """Holds the observers that are in use."""

    def __init__(self, vhosts: VhostFactory, listener: ObserverEvents, telemetry: Telemetry, clock: Clock) -> None:
        self._vhosts = vhosts
        self._listener = listener
        self._telemetry = telemetry
        self._clock = clock
        self._shares = Shares()
        self._number = 0
        self._observers: dict[Endpoint, Observer] = {}
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}
        self._users: dict[Key, Endpoint] = {}
        self._user_counts = Counter[Endpoint]()

    def running(self) -> list[Observer]:
        """Return the running observers."""
        return list(self._observers.values())

    def use(self, key: Key, endpoint: Endpoint) -> Observer:
        """Return the observer of an endpoint for a TaskQueue, and release the one that it used before."""
        if self._users.get(key) != endpoint:
            self.release(key)
            self._users[key] = endpoint
            self._user_counts[endpoint] += 1
        if endpoint not in self._observers:
            self._start(endpoint)
        return self._observers[endpoint]

    def release(self, key: Key) -> None:
        """Stop reading for a TaskQueue; end its observer if no other TaskQueue uses it."""
        endpoint = self._users.pop(key, None)
        if endpoint is None:
            return
        self._user_counts[endpoint] -= 1
        if endpoint in self._observers:  # otherwise it crashed, and has not been restarted yet
            self._observers[endpoint].follow(key)
        if not self._user_counts[endpoint]:
            del self._user_counts[endpoint]
            if self._observers.pop(endpoint, None) is not None:
                self._tasks.pop(endpoint).cancel()

    async def close(self) -> None:
        """End all observers and wait for them."""
        tasks = list(self._tasks.values())
        self._observers.clear()
        self._tasks.clear()
        self._users.clear()
        self._user_counts.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, endpoint: Endpoint) -> None:
        vhost = self._vhosts.connect(endpoint)
        observer = Observer(
            endpoint, vhost, self._listener, self._telemetry, self._clock, shares=self._shares, number=self._number
        )
        self._number += 1
        self._observers[endpoint] = observer
        task = self._tasks[endpoint] = asyncio.create_task(observer.run(), name=f"observe {endpoint!r}")
        task.add_done_callback(partial(self._on_end, observer))

    def _on_end(self, observer: Observer, task: asyncio.Task[None]) -> None:
        """Drop an observer whose task ended unexpectedly; the next user of the endpoint creates a new one."""
        if self._tasks.get(observer.endpoint) is not task:
            return
        bug = None if task.cancelled() else task.exception()
        _log.error("observer crashed", broker=observer.endpoint.address, exc_info=bug)
        del self._observers[observer.endpoint], self._tasks[observer.endpoint]
        asyncio.get_running_loop().call_later(RESTART_SECONDS, self._listener.on_broker_health, observer.keys)
