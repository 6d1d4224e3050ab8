"""What a version of the workers needs until it is ready."""

from typing import Any

import pytest

from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.rollout import unfinished_rollout
from tests.approved import assert_approved

from .pod_statuses import BY_OPERATOR


def deployment(desired: int, *, observed: int = 2, stuck: bool = False, **status: int) -> Deployment:
    metadata: dict[str, Any] = {
        "namespace": "media",
        "name": "thumbnails",
        "uid": "d",
        "resourceVersion": "1",
        "generation": 2,
    }
    metadata["ownerReferences"] = BY_OPERATOR
    conditions = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}] if stuck else []
    body: dict[str, Any] = {"metadata": metadata, "spec": {"replicas": desired}}
    return Deployment.parse(body | {"status": status | {"observedGeneration": observed, "conditions": conditions}})


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (deployment(1, observed=1, replicas=1, updatedReplicas=1, readyReplicas=1), Reason.PROGRESSING),
        (deployment(1), Reason.WORKERS_STARTING),
        (deployment(3, replicas=4, updatedReplicas=1, readyReplicas=3), Reason.PROGRESSING),
        (deployment(3, replicas=4, updatedReplicas=1, readyReplicas=3, stuck=True), Reason.ROLLOUT_STUCK),
        (deployment(1, replicas=1, updatedReplicas=1, stuck=True), Reason.ROLLOUT_STUCK),
        (deployment(5, replicas=5, updatedReplicas=5, readyReplicas=1), None),
        (deployment(0), None),
    ],
    ids=["not observed", "none ready", "former ones left", "stuck", "stuck at the start", "one ready", "at zero"],
)
def test_a_version_is_there_once_the_former_one_is_replaced_and_a_worker_is_ready(
    shown: Deployment, reason: Reason | None
) -> None:
    fault = unfinished_rollout(shown)
    assert (fault.reason if fault is not None else None) is reason


def test_the_messages_say_what_is_missing() -> None:
    former_left = deployment(3, replicas=4, updatedReplicas=1, readyReplicas=3)
    assert_approved("rollout.not_observed", message(deployment(1, observed=1)))
    assert_approved("rollout.former_left", message(former_left))
    assert_approved("rollout.stuck", message(deployment(1, stuck=True)))


def message(shown: Deployment) -> str:
    fault = unfinished_rollout(shown)
    assert fault is not None
    return fault.message
