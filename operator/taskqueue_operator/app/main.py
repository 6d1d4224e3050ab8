"""Wires the rooms together and runs them: the only place that knows all of them."""

import asyncio
import signal
import sys

import kopf
import structlog
import uvloop

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.loop import Control
from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.cluster import KubernetesCluster
from taskqueue_operator.rabbitmq.broker import RabbitMQs
from taskqueue_operator.resource.faults import Fault
from taskqueue_operator.resource.names import MANAGER

from . import health, informer, logs
from .background import Background
from .metrics import ControlCollector, Metrics
from .settings import Settings


def main() -> None:
    """Run the operator until it is told to stop."""
    try:
        settings = Settings.read()
    except ValueError as error:
        sys.exit(str(error))
    logs.configure(settings.log_level)
    # Until kopf has its own handler: the first process of a container ignores what it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(uvloop.run(run(settings)))


async def run(settings: Settings) -> int:
    """Run the operator; returns the exit code."""
    try:
        cluster = KubernetesCluster(await connect(), namespaces=settings.namespaces)
    except Fault as fault:
        return _give_up(fault)
    try:
        # With scanning off, kopf would wait in silence for a CRD that is not there.
        await cluster.require_taskqueues()
        metrics, clock = Metrics(), loop_clock()
        control = Control(cluster, RabbitMQs(clock), metrics, clock, installation=settings.installation)
        metrics.registry.register(ControlCollector(control, clock))
        return await _serve(settings, control, metrics)
    except Fault as fault:
        return _give_up(fault)
    finally:
        await cluster.close()


def _give_up(fault: Fault) -> int:
    structlog.get_logger("main").critical("cannot begin", reason=fault.reason, detail=fault.message)
    return 1


async def _serve(settings: Settings, control: Control, metrics: Metrics) -> int:
    started, background = asyncio.Event(), Background(control)
    async with health.serving(
        settings.http_port, health.Endpoints(metrics.registry, started.is_set, control.recordings)
    ):
        await kopf.operator(
            registry=informer.registry(control, background),
            settings=informer.settings(),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            # Else kopf would ask for the name of the user, and that of an image's numeric user is nowhere.
            identity=MANAGER,  # type: ignore[arg-type]  # a str by a name that kopf keeps to itself
            standalone=True,
            stop_flag=background.stop,
            ready_flag=started,
        )
    return int(background.crashed)
