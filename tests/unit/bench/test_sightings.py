"""Who went because fewer were asked for is told from who was replaced."""

from typing import Any

from tests.bench.sightings import Departure, Sightings


def pod(name: str, version: str, *, leaving: bool = False) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"pod-template-hash": version}}
    return {"metadata": metadata | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {})}


def see(sightings: Sightings, *events: tuple[str, dict[str, Any]]) -> None:
    for at, (kind, body) in enumerate(events):
        sightings.see_pod(kind, body, float(at))


def test_a_lower_number_is_a_scale_in_and_a_higher_one_is_not() -> None:
    sightings = Sightings()
    for replicas in (0, 5, 5, 3, 3, 4, 0):
        sightings.see_deployment("MODIFIED", {"spec": {"replicas": replicas}}, 0)

    assert sightings.scale_ins == 2


def test_a_pod_of_the_newest_version_that_goes_is_a_victim() -> None:
    sightings = Sightings()
    see(sightings, ("ADDED", pod("a", "1")), ("MODIFIED", pod("a", "1", leaving=True)))

    assert sightings.victims == [Departure("a", "1", 1, replaced=False)]
    assert sightings.live == 0


def test_a_pod_that_goes_after_a_newer_version_came_is_replaced() -> None:
    sightings = Sightings()
    see(
        sightings,
        ("ADDED", pod("a", "1")),
        ("ADDED", pod("b", "2")),
        ("MODIFIED", pod("a", "1", leaving=True)),
    )

    assert sightings.victims == []
    assert sightings.rollouts == 1


def test_a_pod_that_was_told_to_go_before_a_newer_version_came_is_a_victim() -> None:
    sightings = Sightings()
    see(
        sightings,
        ("ADDED", pod("a", "1")),
        ("MODIFIED", pod("a", "1", leaving=True)),
        ("ADDED", pod("b", "2")),
        ("DELETED", pod("a", "1", leaving=True)),
    )

    assert [victim.pod for victim in sightings.victims] == ["a"]
    assert sightings.gone == {"a": 3}


def test_a_version_that_comes_when_nobody_is_there_is_no_rollout() -> None:
    sightings = Sightings()
    see(sightings, ("ADDED", pod("a", "1")), ("DELETED", pod("a", "1", leaving=True)), ("ADDED", pod("b", "2")))

    assert sightings.rollouts == 0


def test_what_is_shown_again_changes_nothing() -> None:
    sightings = Sightings()
    events = (("ADDED", pod("a", "1")), ("ADDED", pod("b", "1")), ("MODIFIED", pod("a", "1", leaving=True)))
    see(sightings, *events)
    see(sightings, ("ADDED", pod("b", "1")), ("ADDED", pod("a", "1", leaving=True)))

    assert [victim.at for victim in sightings.victims] == [2]
    assert sightings.live == 1
