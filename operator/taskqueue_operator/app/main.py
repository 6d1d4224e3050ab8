"""Wires the rooms and runs them; with `lifecycle` the only module that knows all of them."""

import asyncio
import signal
import socket
import sys
import time
from functools import partial
from typing import Final
from uuid import uuid4

import structlog
import uvloop

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.leader_election import LEASE_DURATION, Leadership
from taskqueue_operator.control.single_flight import SingleFlight
from taskqueue_operator.kube.client import connect
from taskqueue_operator.kube.lease import KubernetesLease
from taskqueue_operator.resource.faults import Fault

from . import health, logs
from .collectors import LeadershipCollector
from .exit_deadline import exit_in_time, stop_on_signals
from .exposition import write_page
from .garbage_collection import short_collections
from .lifecycle import LeaderLifecycle
from .loop_lag import measured_loop
from .metrics import Metrics
from .settings import Settings

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""How long another thread, such as one that resolves a name, keeps the interpreter once the event loop needs it.

The loop releases it at each read of a TLS connection: with Python's 5 ms, 40 reads could take 0.2 s.
"""


def main() -> None:
    """Run the operator until a signal stops it."""
    try:
        settings = Settings.read()
    except ValueError as error:
        sys.exit(str(error))
    logs.configure(settings.log_level)
    # Until the loop has a handler of its own: the first process of a container ignores signals without a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    sys.exit(uvloop.run(run(settings)))


async def run(settings: Settings) -> int:
    """Run the operator; returns the exit code."""
    stop, metrics, clock = asyncio.Event(), Metrics(), loop_clock()
    stop_on_signals(stop)
    # Before kopf starts: at its end, kopf waits for every task that it has not found at its start.
    deadline = asyncio.create_task(exit_in_time(stop), name="exit deadline")
    try:
        leases = KubernetesLease(await connect(), settings.lease, seconds=LEASE_DURATION)
    except Fault as fault:
        return _startup_failed(fault)
    identity = settings.identity or f"{socket.gethostname()}_{uuid4()}"
    leadership = Leadership(leases, identity, clock, _boot_seconds)
    metrics.registry.register(LeadershipCollector(leadership))
    page = SingleFlight(partial(write_page, metrics.registry))  # simultaneous scrapes share a page
    lifecycle = LeaderLifecycle(settings, leadership, metrics, clock)
    endpoints = health.Endpoints(page, lifecycle.readiness, lifecycle.recordings)
    try:
        async with health.serving(settings.http_port, endpoints):
            with short_collections(), measured_loop(metrics.lagged):
                return await lifecycle.run(stop)
    except Fault as fault:
        return _startup_failed(fault)
    finally:
        await leases.close()
        deadline.cancel()


def _boot_seconds() -> float:
    """Return the seconds of a clock that also counts while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _startup_failed(fault: Fault) -> int:
    structlog.get_logger("main").critical("startup failed", reason=fault.reason, detail=fault.message)
    return 1
