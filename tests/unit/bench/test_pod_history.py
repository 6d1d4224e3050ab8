"""Pods removed by a scale-in differ from pods replaced by a rollout."""

from typing import Any

from tests.bench.pod_history import PodHistory, Removal


def pod(name: str, version: str, *, terminating: bool = False) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"pod-template-hash": version}}
    return {"metadata": metadata | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if terminating else {})}


def record(history: PodHistory, *events: tuple[str, dict[str, Any]]) -> None:
    for at, (kind, body) in enumerate(events):
        history.on_pod(kind, body, float(at))


def test_only_lower_replicas_count_as_a_scale_in() -> None:
    history = PodHistory()
    for replicas in (0, 5, 5, 3, 3, 4, 0):
        history.on_deployment("MODIFIED", {"spec": {"replicas": replicas}}, 0)

    assert history.scale_ins == 2


def test_a_deleted_pod_of_the_newest_version_is_scaled_in() -> None:
    history = PodHistory()
    record(history, ("ADDED", pod("a", "1")), ("MODIFIED", pod("a", "1", terminating=True)))

    assert history.scaled_in == [Removal("a", "1", 1, replaced=False)]
    assert history.active == 0


def test_a_pod_deleted_after_a_newer_version_came_is_replaced() -> None:
    history = PodHistory()
    record(
        history,
        ("ADDED", pod("a", "1")),
        ("ADDED", pod("b", "2")),
        ("MODIFIED", pod("a", "1", terminating=True)),
    )

    assert history.scaled_in == []
    assert history.rollouts == 1


def test_a_pod_deleted_after_the_template_changed_is_replaced_although_no_newer_one_exists() -> None:
    history = PodHistory()
    history.on_deployment("ADDED", {"spec": {"replicas": 1, "template": {"image": "1"}}}, 0)
    record(history, ("ADDED", pod("a", "1")))
    history.on_deployment("MODIFIED", {"spec": {"replicas": 1, "template": {"image": "2"}}}, 1)
    record(history, ("MODIFIED", pod("a", "1", terminating=True)))

    assert history.scaled_in == []


def test_a_pod_terminating_before_a_newer_version_came_is_scaled_in() -> None:
    history = PodHistory()
    record(
        history,
        ("ADDED", pod("a", "1")),
        ("MODIFIED", pod("a", "1", terminating=True)),
        ("ADDED", pod("b", "2")),
        ("DELETED", pod("a", "1", terminating=True)),
    )

    assert [removal.pod for removal in history.scaled_in] == ["a"]
    assert history.deleted_at == {"a": 3}


def test_a_new_version_without_existing_pods_is_no_rollout() -> None:
    history = PodHistory()
    record(history, ("ADDED", pod("a", "1")), ("DELETED", pod("a", "1", terminating=True)), ("ADDED", pod("b", "2")))

    assert history.rollouts == 0


def test_a_repeated_event_changes_nothing() -> None:
    history = PodHistory()
    events = (("ADDED", pod("a", "1")), ("ADDED", pod("b", "1")), ("MODIFIED", pod("a", "1", terminating=True)))
    record(history, *events)
    record(history, ("ADDED", pod("b", "1")), ("ADDED", pod("a", "1", terminating=True)))

    assert [removal.at for removal in history.scaled_in] == [2]
    assert history.active == 1
