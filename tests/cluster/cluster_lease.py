"""The lease of the cluster: several processes hold it at once, and the last one leaves the cluster as it was found."""

import fcntl
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.cluster import cache
from tests.cluster import cluster as the_cluster
from tests.cluster.installation import CRD, RELEASE, SYSTEM
from tests.cluster.prerequisites import MissingError
from tests.cluster.progress import step
from tests.cluster.provider import Cluster

BROKER = "rabbitmq"
"""The namespace of the broker."""

_CHANGING = "cluster-lease"
"""The lock of a process that begins or ends its use of the cluster."""
_USERS = "cluster-users"
"""The lock that all holders of the lease share."""


@dataclass
class ClusterLease:
    """One process's use of the cluster; `keep` leaves the cluster as it is at the end."""

    cluster: Cluster
    keep: bool = False

    def once(self, name: str, make: Callable[[], object]) -> None:
        """Make the part `name` of the cluster, unless another holder of the lease has made it."""
        with cache.locked(f"{_CHANGING}-{name}"):
            made = _folder() / name
            if not made.exists():
                make()
                made.touch()


@contextmanager
def lease_cluster(*namespaces: str) -> Iterator[ClusterLease]:
    """Use the cluster of this machine, and leave it as it was found: down, or up without what was made in it.

    Several processes may use it at once. The first one brings it up; the last one cleans up for all of them.

    Args:
        namespaces: Namespaces that this process makes, besides those of the broker and the operator.
    """
    lease = ClusterLease(the_cluster())
    user = _begin(lease.cluster)
    try:
        yield lease
    except MissingError:  # its sentence says it all
        raise
    except Exception:
        print(lease.cluster.diagnosis(), file=sys.stderr)
        raise
    finally:
        lease.cluster.close()
        _end(user, lease, namespaces)


def wait_until_up() -> None:
    """Wait while a process brings the cluster up, or takes it down."""
    with cache.locked(_CHANGING):
        pass


def _begin(cluster: Cluster) -> IO[str]:
    cluster.check_prerequisites()
    with cache.locked(_CHANGING):
        user = (cache.locks() / _USERS).open("w")
        if _is_alone(user):
            shutil.rmtree(_folder(), ignore_errors=True)
            before = _found(cluster)
            _note(before=None if before is None else sorted(before), namespaces=[SYSTEM, BROKER], keep=False)
            try:
                cluster.up()
            except BaseException as error:
                if not isinstance(error, MissingError):
                    print(cluster.diagnosis(), file=sys.stderr)
                user.close()
                _restore(cluster, {SYSTEM, BROKER}, before)
                raise
        fcntl.flock(user, fcntl.LOCK_SH)
        return user


def _end(user: IO[str], lease: ClusterLease, namespaces: tuple[str, ...]) -> None:
    with cache.locked(_CHANGING), user:
        state = json.loads(_state().read_text())
        state["namespaces"] += namespaces
        state["keep"] |= lease.keep
        _note(**state)
        if _is_alone(user):
            shutil.rmtree(_folder(), ignore_errors=True)
            if not state["keep"]:
                before = state["before"]
                found = None if before is None else frozenset(before)
                _restore(lease.cluster, {*state["namespaces"]}, found)


def _is_alone(user: IO[str]) -> bool:
    """Whether no other process uses the cluster; the lock is exclusive then, else it is free."""
    fcntl.flock(user, fcntl.LOCK_UN)
    try:
        fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _folder() -> Path:
    folder = cache.home() / "lease"
    folder.mkdir(exist_ok=True)
    return folder


def _state() -> Path:
    return _folder() / "state.json"


def _note(**state: object) -> None:
    _state().write_text(json.dumps(state))


def _found(cluster: Cluster) -> frozenset[str] | None:
    """List the namespaces there are, and our CRD; None if there is no cluster yet."""
    if not cluster.kubeconfig.exists():  # to ask all the same might mean to compile kubectl first
        return None
    kinds = "namespaces,customresourcedefinitions"
    try:
        names = cluster.kubectl("get", kinds, "--output=name", "--request-timeout=5s")
    except (RuntimeError, OSError):
        return None
    return frozenset(name.rpartition("/")[2] for name in names.split())


def _restore(cluster: Cluster, made: set[str], before: frozenset[str] | None) -> None:
    """Remove what was not there before: TaskQueues first, while the operator can take them down, then all else."""
    if before is None:
        cluster.down()
        return
    fresh = sorted(made - before)
    if CRD not in before:
        cluster.kubectl("delete", "taskqueues", "--all", "--all-namespaces", "--timeout=120s", check=False)
    if SYSTEM in fresh:
        cluster.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found", "--wait")
    if CRD not in before:
        cluster.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=180s")
    if fresh:
        cluster.kubectl("delete", "namespace", *fresh, "--ignore-not-found", "--timeout=180s")
    step("what was installed is gone")
