"""A real Kubernetes to test on: `cluster()` returns the one that this machine and `CLUSTER` select."""

from tests.cluster import choice
from tests.cluster.provider import Cluster

__all__ = ["Cluster", "cluster"]


def cluster() -> Cluster:
    """Return the cluster of the provider that `CLUSTER` names; starts nothing."""
    # A provider needs packages or programs that the other ones do without.
    match choice.provider():
        case "local":
            from tests.cluster.provider_local import Local

            return Local()
        case "kind":
            from tests.cluster.provider_kind import Kind

            return Kind()
        case "existing":
            from tests.cluster.provider_existing import Existing

            return Existing()
