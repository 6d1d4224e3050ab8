"""`spec.queue.changePolicy: Migrate` with real workers, while the operator is killed again and again."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.integration.harness.eventually import eventually
from tests.integration.harness.fake_kubelet import FakeKubelet
from tests.integration.harness.operator_process import OperatorProcess
from tests.integration.harness.steady_publisher import SteadyPublisher
from tests.integration.harness.tenant import Tenant

INTERIM: Final = "taskqueue.interim.jobs"
ONE: Final = {"minReplicas": 1, "maxReplicas": 1}
STAGE_SECONDS: Final = 180
"""A killed operator reads a queue for half a minute before it is certainly empty; on a loaded machine, longer."""


def queues_of_workers(tenant: Tenant) -> str:
    """Return the queues that the template of the workers names."""
    (container,) = tenant.get("deployment", "jobs")["spec"]["template"]["spec"]["containers"]
    (value,) = (variable["value"] for variable in container["env"] if variable["name"] == "TASKQUEUE_QUEUES")
    return str(value)


def receiving(tenant: Tenant) -> list[str]:
    """Return the queues that are bound to the private exchange."""
    bindings = tenant.http.get(f"{tenant.path('exchanges', 'jobs.in')}/bindings/source").raise_for_status().json()
    return [binding["destination"] for binding in bindings]


def finished(tmp_path: Path) -> Counter[int]:
    """Return how often each task has ended, by its number."""
    lines = (tmp_path / "ledger").read_text().splitlines()
    return Counter(int(line.split()[1]) for line in lines if line.startswith("finished"))


@pytest.fixture
def kubelet(tenant: Tenant, tmp_path: Path) -> Iterator[FakeKubelet]:
    kubelet = FakeKubelet(tenant, "jobs", tenant.broker, tmp_path)
    yield kubelet
    kubelet.close()


@pytest.mark.fault
def test_a_migration_loses_and_doubles_no_task_while_the_operator_is_killed(
    tenant: Tenant, operator: OperatorProcess, kubelet: FakeKubelet, tmp_path: Path
) -> None:
    tenant.secret()
    tenant.taskqueue("jobs", queue={"type": "Classic"}, scaling=ONE)
    kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
    with SteadyPublisher(f"{tenant.broker.url}{tenant.vhost}", "jobs", per_second=50) as publisher:
        kubelet.until(lambda: len(publisher.confirmed) > 50)
        tenant.taskqueue("jobs", queue={"type": "Quorum", "changePolicy": "Migrate"}, scaling=ONE)
        moments = (
            lambda: queues_of_workers(tenant) == f"jobs,{INTERIM}",
            lambda: receiving(tenant) == [INTERIM],
            lambda: tenant.queue("jobs").get("type") == "quorum",
            lambda: queues_of_workers(tenant) == "jobs",
        )
        for has_come in moments:
            kubelet.until(has_come, seconds=STAGE_SECONDS)
            operator.kill()
            operator.start()
        kubelet.until(
            lambda: tenant.condition("jobs", "TopologyReady").get("reason"), "Reconciled", seconds=STAGE_SECONDS
        )
        kubelet.until(lambda: tenant.condition("jobs").get("status"), "True")
    assert publisher.failures == []
    expected = Counter(publisher.confirmed)
    eventually(lambda: finished(tmp_path).keys() == expected.keys())
    assert finished(tmp_path) == expected, "no task ran twice"
    assert (receiving(tenant), tenant.queue(INTERIM)) == (["jobs"], {})
