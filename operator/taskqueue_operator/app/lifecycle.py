"""From standing by to letting go: what writes exists only while this process leads."""

import asyncio
import os
from typing import NoReturn

import kopf
import structlog

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.leader_election import Leadership
from taskqueue_operator.control.scale.drainer import Leader
from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource.faults import LeadershipLost
from taskqueue_operator.resource.names import MANAGER, Key

from . import informer
from .controller_task import ControllerTask
from .metrics import ControlCollector, Metrics
from .settings import Settings


class LeaderLifecycle:
    """The one reign of this process, if it comes to it."""

    def __init__(self, settings: Settings, leadership: Leadership, metrics: Metrics, clock: Clock) -> None:
        self._settings = settings
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._control: Controller | None = None
        self._watching = asyncio.Event()

    def readiness(self) -> str | None:
        """Say what this process is ready for, if for anything.

        Standing by counts: else no rollout would go on, since the new pod leads only after the old one has gone.
        """
        if self._watching.is_set():
            return "leading"
        rival = self._leadership.rival
        return f"standing by, {rival} leads" if rival is not None else None

    def recordings(self, key: Key) -> bytes | None:
        """Write the last decisions on a TaskQueue as JSON; None when it is not known here."""
        return self._control.recordings(key) if self._control is not None else None

    async def run(self, stop: asyncio.Event) -> int:
        """Stand by, lead, let go; returns the exit code.

        Raises:
            Fault: The API server does not know TaskQueues.
        """
        if not await self._leadership.acquire(stop):
            return 0
        keeping = asyncio.create_task(self._leadership.keep(), name="lease")
        keeping.add_done_callback(_end_at_once)
        try:
            return await self._lead(stop)
        finally:
            # Only now, that nothing of ours writes any more.
            keeping.remove_done_callback(_end_at_once)
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self._leadership.release()

    async def _lead(self, stop: asyncio.Event) -> int:
        check, settings = self._leadership.check, self._settings
        cluster = KubernetesCluster(await connect(check), namespaces=settings.namespaces)
        try:
            # With scanning off, kopf would wait in silence for a CRD that is not there.
            await cluster.require_taskqueues()
            brokers = VhostFactory(self._clock, check)
            author = Leader(settings.installation, self._leadership.epoch)
            control = Controller(cluster, brokers, self._metrics, self._clock, author)
            self._control = control
            self._metrics.registry.register(ControlCollector(control, self._clock))
            background = ControllerTask(control, stop)
            await self._watch(control, background)
            return int(background.crashed)
        finally:
            await cluster.close()

    async def _watch(self, control: Controller, background: ControllerTask) -> None:
        await kopf.operator(
            registry=informer.registry(control, background),
            settings=informer.settings(),
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            # Else kopf would ask for the name of the user, and that of an image's numeric user is nowhere.
            identity=MANAGER,  # type: ignore[arg-type]  # a str by a name that kopf keeps to itself
            standalone=True,
            stop_flag=background.stop,
            ready_flag=self._watching,
        )


def _end_at_once(keeping: "asyncio.Task[NoReturn]") -> None:
    """End without any clean-up: what is under way, on whatever connection, is not to be finished."""
    bug = None if keeping.cancelled() else keeping.exception()
    why = str(bug) if isinstance(bug, LeadershipLost) else "the Lease is not renewed any more"
    log = structlog.get_logger("main")
    log.critical("does not lead any more", detail=why, exc_info=None if isinstance(bug, LeadershipLost) else bug)
    os._exit(1)
