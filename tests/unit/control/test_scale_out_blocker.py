"""The scale-out blockers in the cache."""

from typing import Any

from taskqueue_operator.control.cache import Cache
from taskqueue_operator.control.ports import Body
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import ANNOTATION_DIGEST, ANNOTATION_STARTED, LABEL_NAME
from tests.unit.workers.pod_statuses import QUOTA, READY, refused, waiting

from .fake_cluster import KEY, by_replica_set

FAILING = waiting("ImagePullBackOff")


def deployment(version: int, digest: str = "1.4", *conditions: Body) -> Body:
    metadata = {
        **KEY._asdict(),
        "uid": "d",
        "resourceVersion": str(version),
        "annotations": {ANNOTATION_DIGEST: digest},
    }
    return {"metadata": metadata, "spec": {"replicas": 1}, "status": {"conditions": list(conditions)}}


def pod(version: int, status: dict[str, Any], digest: str = "1.4", name: str = "p") -> Body:
    labels, annotations = {LABEL_NAME: KEY.name}, {ANNOTATION_DIGEST: digest}
    named: Body = {"namespace": KEY.namespace, "name": name, "uid": name, "labels": labels, "annotations": annotations}
    named["ownerReferences"] = by_replica_set(KEY)
    return {"metadata": named | {"resourceVersion": str(version)}, "status": status}


def reason(cache: Cache) -> Reason | None:
    found = cache.scale_out_blocker(KEY)
    return None if found is None else found.reason


def test_a_blocker_follows_the_observed_objects() -> None:
    cache = Cache()
    assert reason(cache) is None
    cache.update_deployment(deployment(1))
    assert reason(cache) is Reason.WORKERS_STARTING
    cache.update_pod(pod(2, FAILING))
    assert reason(cache) is Reason.WORKERS_FAILING
    cache.remove_pod(pod(3, FAILING))
    assert reason(cache) is Reason.WORKERS_STARTING
    cache.update_deployment(deployment(4, "1.4", refused(QUOTA)))
    assert reason(cache) is Reason.QUOTA_EXCEEDED
    cache.remove_deployment(KEY, "d")
    assert reason(cache) is None


def test_an_unchanged_blocker_is_not_computed_again() -> None:
    cache = Cache()
    cache.update_deployment(deployment(1))
    cache.update_pod(pod(2, FAILING))
    assert cache.scale_out_blocker(KEY) is cache.scale_out_blocker(KEY)


def test_a_late_event_restores_no_blocker() -> None:
    cache = Cache()
    cache.update_deployment(deployment(3))
    cache.update_pod(pod(9, READY))
    cache.update_pod(pod(4, FAILING))
    cache.update_deployment(deployment(2, "1.4", refused(QUOTA)))
    assert reason(cache) is None


def test_a_pod_deleted_without_an_event_is_no_blocker() -> None:
    cache = Cache()
    cache.update_deployment(deployment(1))
    cache.update_pod(pod(2, FAILING))
    assert reason(cache) is Reason.WORKERS_FAILING
    ((owner, name),) = cache.all_pods()
    cache.discard_pod(owner, name)
    assert reason(cache) is Reason.WORKERS_STARTING


def test_a_version_that_has_started_is_known_to_work_also_after_a_restart_of_the_operator() -> None:
    cache = Cache()
    cache.update_deployment(deployment(1))
    cache.update_pod(pod(2, READY))
    cache.update_pod(pod(3, FAILING))
    assert reason(cache) is None
    assert cache.unrecorded_start(KEY) == "1.4"
    fresh = Cache()
    fresh.update_deployment(deployment(1))
    fresh.update_pod(pod(3, FAILING))
    assert reason(fresh) is Reason.WORKERS_FAILING
    recorded = deployment(4)
    recorded["metadata"]["annotations"][ANNOTATION_STARTED] = "1.4"
    fresh.update_deployment(recorded)
    assert (reason(fresh), fresh.unrecorded_start(KEY)) == (None, "")


def test_a_version_whose_worker_has_reported_that_it_consumes_has_started() -> None:
    """A task may end every worker before the API shows that it is ready."""
    cache = Cache()
    cache.update_deployment(deployment(1))
    cache.update_pod(pod(2, FAILING))
    cache.record_start(KEY, "1.4")
    assert reason(cache) is None


def test_a_pod_of_no_replica_set_of_ours_is_no_worker() -> None:
    cache = Cache()
    stray = pod(1, READY)
    del stray["metadata"]["ownerReferences"]
    assert cache.update_pod(stray) == KEY
    assert list(cache.pods(KEY)) == []


def test_a_pod_whose_label_names_another_taskqueue_is_no_worker_of_the_former_one() -> None:
    cache = Cache()
    cache.update_pod(pod(1, READY))
    relabelled = pod(2, READY)
    relabelled["metadata"]["labels"][LABEL_NAME] = "another"
    another = cache.update_pod(relabelled)
    assert another.name == "another"
    assert [*cache.pods(KEY), *cache.pods(another)] == [], "its ReplicaSet is of no Deployment of that TaskQueue either"


def test_a_deployment_that_loses_its_label_and_gets_it_again_is_known_again() -> None:
    cache = Cache()
    cache.update_deployment(deployment(1))
    cache.remove_deployment(KEY, "d", 5)
    cache.update_deployment(deployment(4))
    assert KEY not in cache.deployments, "a late answer"
    cache.update_deployment(deployment(6))
    assert KEY in cache.deployments, "applied again"


def test_every_new_version_must_start_once() -> None:
    cache = Cache()
    cache.update_deployment(deployment(1))
    cache.update_pod(pod(2, READY))
    cache.update_deployment(deployment(3, "1.5"))
    cache.update_pod(pod(4, FAILING, "1.5", "q"))
    assert reason(cache) is Reason.WORKERS_FAILING
    cache.update_pod(pod(5, READY))  # a pod of the former version
    assert reason(cache) is Reason.WORKERS_FAILING
    cache.update_deployment(deployment(6, "1.6"))
    assert reason(cache) is Reason.WORKERS_STARTING


def test_nothing_is_stored_of_a_deleted_deployment() -> None:
    cache = Cache()
    cache.update_deployment(deployment(1))
    cache.update_pod(pod(2, READY))
    assert reason(cache) is None
    cache.remove_deployment(KEY, "d")
    cache.update_pod(pod(3, READY))  # it still terminates
    cache.remove_pod(pod(4, READY))
    assert (cache._started_template, cache._blockers, cache.all_pods()) == ({}, {}, [])
