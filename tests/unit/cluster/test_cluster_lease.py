"""Several processes use one cluster: its lease counts them; locks keep apart a test that needs the cluster alone."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest
from typing_extensions import override

from tests.cluster import cluster_lease, locks
from tests.cluster.provider import Cluster


class RecordedCluster(Cluster):
    """Records when it is brought up and taken down."""

    provider = "recorded"

    def __init__(self, directory: Path) -> None:
        self.calls: list[str] = []
        self._directory = directory

    @property
    @override
    def kubeconfig(self) -> Path:
        return self._directory / "kubeconfig"

    @override
    def check_prerequisites(self) -> None:
        pass

    @override
    def up(self) -> None:
        self.calls.append("up")

    @override
    def down(self) -> None:
        self.calls.append("down")

    @override
    def load(self, tag: str) -> None:
        self.calls.append(f"load {tag}")

    @override
    def logs(self) -> str:
        return ""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RecordedCluster:
    cluster = RecordedCluster(tmp_path)
    monkeypatch.setenv("TASKQUEUE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cluster_lease, "the_cluster", lambda: cluster)
    return cluster


def test_the_first_user_brings_the_cluster_up_and_the_last_one_takes_it_down(cluster: RecordedCluster) -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(cluster_lease.lease_cluster())
    second.enter_context(cluster_lease.lease_cluster())
    first.close()
    assert cluster.calls == ["up"]
    second.close()
    assert cluster.calls == ["up", "down"]


def test_the_cluster_stays_if_one_user_keeps_it_even_if_another_user_ends_last(cluster: RecordedCluster) -> None:
    with cluster_lease.lease_cluster(), cluster_lease.lease_cluster() as kept:
        kept.keep = True
    assert cluster.calls == ["up"]


def test_a_part_is_made_once_for_all_simultaneous_users_and_again_for_later_users(cluster: RecordedCluster) -> None:
    for _ in range(2):
        with cluster_lease.lease_cluster() as first, cluster_lease.lease_cluster() as second:
            for lease in (first, second):
                lease.once("broker", lambda: cluster.calls.append("broker"))
    assert cluster.calls == ["up", "broker", "down"] * 2


class Holder:
    """Holds a lock in a thread of its own until it is released."""

    def __init__(self, lock: AbstractContextManager[None]) -> None:
        self.holds = Event()
        self._release = Event()
        self._lock = lock
        self._thread = Thread(target=self._hold)
        self._thread.start()

    def _hold(self) -> None:
        with self._lock:
            self.holds.set()
            self._release.wait()

    def release(self) -> None:
        self._release.set()
        self._thread.join()


@pytest.fixture
def holders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Holder]]:
    monkeypatch.setenv("TASKQUEUE_CACHE", str(tmp_path))
    made: list[Holder] = []
    yield made
    for holder in made:
        holder.release()


def test_an_exclusive_lock_waits_for_all_shared_locks(holders: list[Holder]) -> None:
    holders += [Holder(locks.shared("part")), Holder(locks.shared("part"))]
    assert all(holder.holds.wait(10) for holder in holders)
    holders.append(alone := Holder(locks.exclusive("part")))
    holders[0].release()
    assert not alone.holds.wait(0.2)
    holders[1].release()
    assert alone.holds.wait(10)


@pytest.mark.slow
def test_a_shared_lock_waits_for_an_earlier_exclusive_lock(holders: list[Holder]) -> None:
    holders.append(first := Holder(locks.shared("part")))
    assert first.holds.wait(10)
    holders.append(alone := Holder(locks.exclusive("part")))
    assert not alone.holds.wait(0.2)
    holders.append(late := Holder(locks.shared("part")))
    first.release()
    assert alone.holds.wait(10)
    assert not late.holds.wait(0.2)
    alone.release()
    assert late.holds.wait(10)
