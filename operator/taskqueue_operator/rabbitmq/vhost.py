"""One vhost of one RabbitMQ."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from taskqueue_operator.drain.consumers import ConsumerSnapshot
from taskqueue_operator.resource.lease import Guard
from taskqueue_operator.resource.names import MANAGER, Key
from taskqueue_operator.scaling.reading import Probe, Sweep
from taskqueue_operator.topology.diff import Declare, Step
from taskqueue_operator.topology.objects import Queue, Topology

from . import apply as requests
from . import faults
from .consumers import read_look
from .control_channel import ControlChannel, Heard
from .endpoint import Endpoint
from .management import Management
from .probe import Prober
from .reconnect import Reconnector
from .vhost_reader import HEEDS_CONSUMERS, Version, read_sweep, read_topology, read_version

SWEEP_SECONDS: Final = 4.0
"""What a sweep may take: shorter than their period, so that one that is lost does not cost the next one too."""
PROBE_NAME: Final = f"{MANAGER} probe"
CONTROL_NAME: Final = f"{MANAGER} control"


class Vhost:
    """Reads and writes over the management API, probes over one AMQP connection; both connect when first used."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], datetime], guard: Guard | None = None) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._guard = guard
        self._management = Management(endpoint, guard)
        self._line = Reconnector(endpoint, name=PROBE_NAME)
        self._prober = Prober(endpoint, self._line, clock)
        self._version: Version | None = None

    async def topology(self) -> Topology:
        """Read all exchanges, queues, bindings and policies of the vhost: four requests, and once its version.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        there = await read_topology(self._management)
        if self._version is None:  # a newer one does all that this one does
            self._version = await read_version(self._management)
        return replace(there, supports_consumer_timeout=self._version >= HEEDS_CONSUMERS)

    async def take(self, steps: Sequence[Step]) -> None:
        """Take steps in order; every step may be repeated.

        Raises:
            TopologyFault: The broker refuses an object.
            BrokerFault: The management API cannot be used.
        """
        for step in steps:
            await requests.take(self._management, step)
            if isinstance(step, Declare) and isinstance(step.item, Queue):
                self._prober.found({step.item.name})

    async def sweep(self) -> Mapping[str, Sweep]:
        """List every queue of the vhost with its figures: one request.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                swept = await read_sweep(self._management, self._clock)
        except TimeoutError as error:
            raise faults.management_unreachable(self._endpoint, faults.cause(error)) from None
        # One that does not run, because its node is down, is listed and yet missing.
        self._prober.found({queue for queue, each in swept.items() if each.running})
        return swept

    async def look(self) -> ConsumerSnapshot:
        """List who is connected to the vhost, what they consume and what they hold: three requests.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        return await read_look(self._management, self._clock)

    async def probe(self, queues: Collection[str]) -> Mapping[str, Probe]:
        """Ask for the ready count of each queue; those that have not answered are left out.

        Raises:
            BrokerFault: There is no connection.
        """
        return await self._prober.probe(queues)

    def control(self, heard: Heard) -> ControlChannel:
        """Make the way to talk with workers; it connects once it is run and there is somebody to listen to."""
        return ControlChannel(self._endpoint, CONTROL_NAME, heard, self._guard)

    async def close(self) -> None:
        """Let go of all connections but that with the workers."""
        self._prober.close()
        try:
            await self._line.close()
        finally:
            await self._management.close()


class VhostFactory:
    """Makes brokers out of Secrets; `clock` says when each question was asked, `guard` is asked before each write."""

    def __init__(self, clock: Callable[[], datetime], guard: Guard | None = None) -> None:
        self._clock = clock
        self._guard = guard

    def endpoint(self, secret: Key, data: Mapping[str, bytes], vhost: str | None) -> Endpoint:
        """Read a Secret's data.

        Raises:
            BrokerFault: A key is missing or cannot be understood; the message names it.
        """
        return Endpoint.parse(secret, data, vhost)

    def connect(self, endpoint: object) -> Vhost:
        """Make a broker for one of our endpoints; connects when first used."""
        if not isinstance(endpoint, Endpoint):
            raise TypeError(f"not an endpoint of RabbitMQ: {type(endpoint).__name__}")
        return Vhost(endpoint, self._clock, self._guard)
