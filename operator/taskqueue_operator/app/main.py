"""Wires the rooms together and runs them: the only place that knows all of them."""

import asyncio
import sys

import kopf
import structlog
import uvloop

from taskqueue_operator.control.loop import Control
from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.rabbitmq.brokers import RabbitMQBrokers
from taskqueue_operator.resource.faults import Fault

from . import health, informer, logs
from .metrics import ControlCollector, Metrics
from .settings import Settings


def main() -> None:
    """Run the operator until it is told to stop."""
    try:
        settings = Settings.read()
    except ValueError as error:
        sys.exit(str(error))
    logs.configure(settings.log_level)
    sys.exit(uvloop.run(run(settings)))


async def run(settings: Settings) -> int:
    """Run the operator; returns the exit code."""
    log = structlog.get_logger("main")
    async with connect() as api:
        cluster = KubernetesCluster(api, namespaces=settings.namespaces)
        try:
            await cluster.list_taskqueues()
        except Fault as fault:
            # With scanning off, kopf would wait in silence for a CRD that is not there.
            log.critical("cannot list TaskQueues: is the CRD installed?", message=fault.message)
            return 1
        metrics = Metrics()
        control = Control(cluster, RabbitMQBrokers(), metrics, installation=settings.installation)
        metrics.registry.register(ControlCollector(control))
        return await _serve(settings, control, metrics)


async def _serve(settings: Settings, control: Control, metrics: Metrics) -> int:
    """Run kopf and the control loop side by side; when one ends, so does the other."""
    started, stop = asyncio.Event(), asyncio.Event()
    async with health.serving(settings.http_port, metrics.registry, started.is_set):
        loop = asyncio.create_task(control.run(), name="control")
        loop.add_done_callback(lambda _: stop.set())
        watching = kopf.operator(
            registry=informer.registry(control),
            settings=informer.settings(),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            standalone=True,
            stop_flag=stop,
            ready_flag=started,
        )
        try:
            await watching
        finally:
            crashed = loop.done()
            loop.cancel()
            (outcome,) = await asyncio.gather(loop, return_exceptions=True)
        if crashed:
            structlog.get_logger("main").error("the control loop ended", exc_info=outcome)
        return int(crashed)
