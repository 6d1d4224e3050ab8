"""A Classic queue becomes a Quorum queue under load: lost and doubled tasks, and the longest pause of anyone."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from taskqueue_operator.resource.names import interim_queue
from tests.bench.context import Context
from tests.bench.result import Result, Target
from tests.cluster.broker import Broker
from tests.cluster.control_plane import ControlPlane
from tests.cluster.progress import step
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.steady_publisher import SteadyPublisher
from tests.integration.harness.tenant import Tenant
from tests.integration.worker.running_worker import SOURCE

QUEUE: Final = "jobs"
PER_SECOND: Final = 2
"""Tasks that are published in each second, per TaskQueue of the size: 2,000 for 1,000."""
WAITING: Final = 200
"""Tasks that wait at the beginning, likewise."""
WORKERS: Final = 2
CONCURRENCY: Final = 20
TIMEOUT_SECONDS: Final = 1800
TARGETS: Final = {"lost": Target("<=", 0), "doubled": Target("<=", 0), "pause_max_s": Target("<=", 5)}


async def run(context: Context) -> Result:
    """Measure with an API server, a broker and worker processes of its own; the cluster is not needed."""
    return await asyncio.to_thread(_measure, context.size)


def _measure(size: int) -> Result:
    with TemporaryDirectory() as temporary:
        directory = Path(temporary)
        with ControlPlane.start(directory / "plane") as plane, Broker.start(directory / "broker") as broker:
            plane.install_crd()
            operator, tenant = OperatorProcess(plane.kubeconfig, directory), Tenant(plane, broker)
            kubelet = _kubelet(tenant, directory)
            operator.start()
            try:
                return _migration(tenant, kubelet, directory, size)
            finally:
                kubelet.close()
                tenant.close()
                operator.stop()


def _kubelet(tenant: Tenant, directory: Path) -> FakeKubelet:
    path = os.pathsep.join([str(SOURCE), str(Path(__file__).parent)])
    variables = {"PYTHONPATH": path, "TASKQUEUE_MODULES": "stamped_tasks"}
    return FakeKubelet(tenant, QUEUE, tenant.broker, directory, **variables)


def _migration(tenant: Tenant, kubelet: FakeKubelet, directory: Path, size: int) -> Result:
    scaling, worker = {"minReplicas": WORKERS, "maxReplicas": WORKERS}, {"concurrency": CONCURRENCY}
    spec = {"scaling": scaling, "worker": {"image": "acme/app:1", **worker}}
    tenant.secret()
    # Paused until the backlog is there.
    paused = {"mode": "Paused", "pausedReplicas": 0, "maxReplicas": WORKERS}
    tenant.taskqueue(QUEUE, **(spec | {"queue": {"type": "Classic"}, "scaling": paused}))
    kubelet.until(lambda: tenant.condition(QUEUE).get("status"), "True")
    url = f"{tenant.broker.url}{tenant.vhost}"
    step(f"{WAITING * size} tasks wait, and {PER_SECOND * size} more are published in each second")
    with SteadyPublisher(url, QUEUE, type_="stamp", per_second=PER_SECOND * size) as publisher:
        kubelet.until(lambda: len(publisher.confirmed) >= WAITING * size, seconds=TIMEOUT_SECONDS)
        tenant.taskqueue(QUEUE, **(spec | {"queue": {"type": "Classic"}}))
        kubelet.until(lambda: _ran(directory) > 0)
        started = time.monotonic()
        tenant.taskqueue(QUEUE, **(spec | {"queue": {"type": "Quorum", "changePolicy": "Migrate"}}))
        kubelet.until(lambda: tenant.condition(QUEUE, "TopologyReady").get("reason"), "Migrating")
        kubelet.until(lambda: _has_ended(tenant), seconds=TIMEOUT_SECONDS)
        ended = time.monotonic()
    kubelet.until(lambda: _ran(directory) >= len(publisher.confirmed), seconds=TIMEOUT_SECONDS)
    ran, times = _ledger(directory)
    confirms = _pause([started, *(at for at in publisher.times if started <= at <= ended), ended])
    work = _pause([started, *(at for at in times if started <= at <= ended), ended])
    figures = {
        "lost": len(set(publisher.confirmed) - ran.keys()),
        "doubled": sum(count > 1 for count in ran.values()),
        "pause_max_s": max(confirms, work),
        "confirm_pause_max_s": confirms,
        "work_pause_max_s": work,
        "failed_publishes": len(publisher.failures),
        "migration_s": ended - started,
        "tasks": len(publisher.confirmed),
    }
    return Result(figures, samples=len(publisher.confirmed), targets=TARGETS)


def _has_ended(tenant: Tenant) -> bool:
    reason = tenant.condition(QUEUE, "TopologyReady").get("reason")
    return reason == "Reconciled" and not tenant.queue(interim_queue(QUEUE))


def _ran(directory: Path) -> int:
    ledger = directory / "ledger"
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def _ledger(directory: Path) -> tuple[Counter[int], list[float]]:
    """Return how often each task ran, and when tasks ran."""
    rows = [line.split() for line in (directory / "ledger").read_text().splitlines()]
    return Counter(int(number) for number, _ in rows), [float(at) for _, at in rows]


def _pause(times: Sequence[float]) -> float:
    """Return the longest time in which nothing happened."""
    return max(later - earlier for earlier, later in pairwise(sorted(times)))
