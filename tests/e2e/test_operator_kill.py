"""Invariant 7 on real parts: a kill -9 of the operator at any step changes no result."""

from collections import Counter

import pytest

from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Tenant

pytestmark = [pytest.mark.fault, pytest.mark.exclusive]


def test_an_operator_killed_during_creation_and_scale_out_changes_no_result(
    tenant: Tenant, fresh_operator: InstalledOperator
) -> None:
    tenant.apply(worker={"concurrency": 2})
    fresh_operator.kill()
    tenant.until_ready()
    tasks = Counter(tenant.publish(200, seconds=0.5))
    tenant.until_replicas(lambda replicas: replicas > 0, "the scale-out has begun")
    fresh_operator.kill()
    tenant.until_scaled_to_zero()
    assert tenant.receipts("done") == tasks
    assert tenant.receipts("started") == tasks


def test_an_operator_killed_during_a_deletion_finishes_it_after_its_restart(
    tenant: Tenant, fresh_operator: InstalledOperator
) -> None:
    tenant.apply(deletion="DeleteIfEmpty", mode="Paused", pausedReplicas=0)
    tenant.until_ready()
    tenant.publish(1, seconds=0)
    tenant.delete()
    tenant.until_reason("Ready", "NotEmpty")
    fresh_operator.kill()
    tenant.patch({"scaling": {"mode": "Auto", "pausedReplicas": None}})
    tenant.until_deleted()
    assert not tenant.queues()
    assert not tenant.broker.exchanges(tenant.namespace)
