"""The cluster of this machine, with RabbitMQ and with the operator as Helm installs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import installation
from tests.cluster.cluster_lease import BROKER, lease_cluster
from tests.e2e.cluster_broker import ClusterBroker, connect


@contextmanager
def environment() -> Iterator[ClusterBroker]:
    """Start the cluster, the broker and the operator; return the broker. The cluster is left as it was: up, or gone."""
    with lease_cluster() as lease:
        lease.cluster.rabbitmq(BROKER)
        installation.install_operator(lease.cluster)
        with connect(lease.cluster, BROKER) as broker:
            yield broker
