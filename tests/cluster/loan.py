"""The cluster of this machine, lent: it is left as it was found."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cluster import cluster as the_cluster
from tests.cluster.installation import CRD, RELEASE, SYSTEM
from tests.cluster.lane import Cluster
from tests.cluster.prerequisites import MissingError
from tests.cluster.progress import step

BROKER = "rabbitmq"
"""The namespace of the broker."""


@dataclass
class Loan:
    """A cluster that is lent; `keep` leaves it as it is at the end."""

    cluster: Cluster
    keep: bool = False


@contextmanager
def borrow(*namespaces: str) -> Iterator[Loan]:
    """Lend the cluster of this machine, and leave it as it was found: gone, or up without what was made in it.

    Args:
        namespaces: Those that the borrower makes, besides the broker's and the operator's.
    """
    loan = Loan(the_cluster())
    before = _found(loan.cluster)
    try:
        loan.cluster.up()
        yield loan
    except MissingError:  # its sentence says it all
        raise
    except Exception:
        print(loan.cluster.diagnosis(), file=sys.stderr)
        raise
    finally:
        if not loan.keep:
            _give_back(loan.cluster, {SYSTEM, BROKER, *namespaces}, before)


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


def _give_back(cluster: Cluster, made: set[str], before: frozenset[str] | None) -> None:
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
        cluster.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=60s")
    if fresh:
        cluster.kubectl("delete", "namespace", *fresh, "--ignore-not-found", "--timeout=180s")
    step("what was installed is gone")
