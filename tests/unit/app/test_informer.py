"""kopf is used as an informer only."""

from itertools import islice
from types import SimpleNamespace
from typing import Any

import kopf

from taskqueue_operator.app import informer


def test_worker_limit_and_idle_timeout_fit_each_other() -> None:
    """A worker of kopf keeps its slot for the idle time, so the two together limit the rate of objects."""
    queueing = informer.settings().queueing
    assert queueing.worker_limit is not None
    assert queueing.worker_limit / queueing.idle_timeout >= 1000  # objects per second


def test_kopf_writes_nothing_and_reads_nothing_cluster_wide() -> None:
    tuned = informer.settings()
    assert tuned.peering.standalone
    assert tuned.scanning.disabled
    assert not tuned.posting.enabled


def test_only_worker_deployments_and_pods_are_watched() -> None:
    selectors = informer.settings().watching.label_selectors
    assert set(selectors.values()) == {"taskqueue.dev/name"}


def registry() -> kopf.OperatorRegistry:
    nothing: Any = SimpleNamespace(
        on_taskqueue=None, on_deployment=None, on_pod=None, start=lambda **_: None, end=lambda **_: None
    )
    return informer.registry(nothing, nothing)


def test_no_handler_is_registered_that_makes_kopf_write() -> None:
    """No create, update, delete, timer, daemon or index: each costs annotations, finalizers or O(n^2)."""
    made = registry()
    assert not made._changing.get_all_handlers()
    assert not made._spawning.get_all_handlers()
    assert not made._indexing.get_all_handlers()
    assert {str(handler.id) for handler in made._watching.get_all_handlers()} == {"taskqueue", "deployment", "pod"}


def test_a_request_of_kopf_is_repeated_without_end() -> None:
    """Otherwise a namespace that was deleted would end the watches of all others."""
    backoffs = informer.settings().networking.error_backoffs
    assert not isinstance(backoffs, float)
    delays = list(islice(iter(backoffs), 100))
    assert len(delays) == 100
    assert delays == sorted(delays)
    assert list(islice(iter(backoffs), 2)) == delays[:2], "each request begins anew"
