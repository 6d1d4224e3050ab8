"""The life of one process: wait for leadership, lead, release. Everything that writes exists only while it leads."""

import asyncio
import os
from typing import NoReturn

import kopf
import structlog

from taskqueue_operator.control.clock import Clock
from taskqueue_operator.control.controller import Controller
from taskqueue_operator.control.leader_election import Leadership
from taskqueue_operator.control.scale.leader import Leader
from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.rabbitmq.broker_hosts import BrokerHosts
from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource.faults import LeadershipLost
from taskqueue_operator.resource.names import MANAGER, Key

from . import informer
from .collectors import ControllerCollector, NamespacesCollector
from .controller_task import ControllerTask
from .metrics import Metrics
from .settings import Settings


class LeaderLifecycle:
    """Runs the controller for as long as this process leads; once."""

    def __init__(self, settings: Settings, leadership: Leadership, metrics: Metrics, clock: Clock) -> None:
        self._settings = settings
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._controller: Controller | None = None
        self._watching = asyncio.Event()

    def readiness(self) -> str | None:
        """Return what this process is ready for; None if it is not ready.

        A process that waits for leadership is ready: otherwise no rollout would finish, since the new pod can lead only
        after the old one has ended.
        """
        if self._watching.is_set():
            return "leading"
        leader = self._leadership.current_leader
        return f"waiting for leadership, {leader} leads" if leader is not None else None

    def recordings(self, key: Key) -> bytes | None:
        """Return the recent decisions on a TaskQueue as JSON; None if this process does not know it."""
        return self._controller.recordings(key) if self._controller is not None else None

    async def run(self, stop: asyncio.Event) -> int:
        """Wait for leadership, lead and release; returns the exit code.

        Raises:
            Fault: The API server does not know TaskQueues.
        """
        if not await self._leadership.acquire(stop):
            return 0
        renewal = asyncio.create_task(self._leadership.renew_loop(), name="lease")
        renewal.add_done_callback(_exit_at_once)
        try:
            return await self._lead(stop)
        finally:
            # Not earlier: until now a task of this process could still write.
            renewal.remove_done_callback(_exit_at_once)
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)
            await self._leadership.release()

    async def _lead(self, stop: asyncio.Event) -> int:
        check, settings = self._leadership.check, self._settings
        cluster = KubernetesCluster(await connect(check), namespaces=settings.namespaces)
        try:
            # With scanning off, kopf would wait silently for a CRD that does not exist.
            await cluster.require_taskqueues()
            vhosts = VhostFactory(self._clock, check, BrokerHosts(settings.broker_hosts))
            leader = Leader(settings.installation, self._leadership.epoch, self._leadership.confirm)
            controller = Controller(cluster, vhosts, self._metrics, self._clock, leader, pod_limits=settings.pod_limits)
            self._controller = controller
            self._metrics.registry.register(ControllerCollector(controller, self._clock))
            self._metrics.registry.register(NamespacesCollector(cluster))
            task = ControllerTask(controller, stop)
            await self._watch(controller, task)
            return int(task.crashed)
        finally:
            await cluster.close()

    async def _watch(self, controller: Controller, task: ControllerTask) -> None:
        await kopf.operator(
            registry=informer.registry(controller, task),
            settings=informer.settings(),
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            # Otherwise kopf looks up the name of the user, and an image's numeric user has none.
            identity=MANAGER,  # type: ignore[arg-type]  # a str under a private name of kopf
            standalone=True,
            stop_flag=task.stop,
            ready_flag=self._watching,
        )


def _exit_at_once(renewal: "asyncio.Task[NoReturn]") -> None:
    """Exit without any cleanup: writes that are under way, on any connection, must not be completed."""
    error = None if renewal.cancelled() else renewal.exception()
    detail = str(error) if isinstance(error, LeadershipLost) else "The Lease is no longer renewed."
    log = structlog.get_logger("main")
    log.critical("lost leadership", detail=detail, exc_info=None if isinstance(error, LeadershipLost) else error)
    os._exit(1)
