"""Wires the rooms together and runs them; with `reign` the only place that knows all of them."""

import asyncio
import signal
import socket
import sys
import time
from uuid import uuid4

import structlog
import uvloop

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.leader_election import LEASE, Leadership
from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.lease import KubernetesLease
from taskqueue_operator.resource.faults import Fault

from . import health, logs
from .lifecycle import LeaderLifecycle
from .metrics import LeadershipCollector, Metrics
from .settings import Settings


def main() -> None:
    """Run the operator until it is told to stop."""
    try:
        settings = Settings.read()
    except ValueError as error:
        sys.exit(str(error))
    logs.configure(settings.log_level)
    # Until the loop has its own handler: the first process of a container ignores what it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.exit(uvloop.run(run(settings)))


async def run(settings: Settings) -> int:
    """Run the operator; returns the exit code."""
    stop, metrics, clock = asyncio.Event(), Metrics(), loop_clock()
    for each in (signal.SIGINT, signal.SIGTERM):  # kopf has its own, once it runs
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    try:
        leases = KubernetesLease(await connect(), settings.lease, seconds=LEASE)
    except Fault as fault:
        return _give_up(fault)
    identity = settings.identity or f"{socket.gethostname()}_{uuid4()}"
    leadership = Leadership(leases, identity, clock, _seconds)
    metrics.registry.register(LeadershipCollector(leadership))
    reign = LeaderLifecycle(settings, leadership, metrics, clock)
    endpoints = health.Endpoints(metrics.registry, reign.readiness, reign.recordings)
    try:
        async with health.serving(settings.http_port, endpoints):
            return await reign.run(stop)
    except Fault as fault:
        return _give_up(fault)
    finally:
        await leases.close()


def _seconds() -> float:
    """A clock that also counts while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _give_up(fault: Fault) -> int:
    structlog.get_logger("main").critical("cannot begin", reason=fault.reason, detail=fault.message)
    return 1
