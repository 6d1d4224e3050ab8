"""A real Kubernetes to test on: `cluster()` is the one for this machine and the `CLUSTER` asked for."""

from tests.cluster import choice
from tests.cluster.lane import Cluster

__all__ = ["Cluster", "cluster"]


def cluster() -> Cluster:
    """The cluster of the lane that `CLUSTER` names; starts nothing."""
    # Each lane needs things of its own that the others do without.
    match choice.lane():
        case "local":
            from tests.cluster.lane_local import Local

            return Local()
        case "kind":
            from tests.cluster.lane_kind import Kind

            return Kind()
        case "existing":
            from tests.cluster.lane_existing import Existing

            return Existing()
