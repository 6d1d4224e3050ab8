"""The cluster of this machine, with RabbitMQ and with the operator as Helm installs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster import installation
from tests.cluster.loan import BROKER, borrow
from tests.e2e.cluster_broker import ClusterBroker, connect


@contextmanager
def environment() -> Iterator[ClusterBroker]:
    """Start the cluster, the broker and the operator; return the broker. The cluster is left as it was: up, or gone."""
    with borrow() as loan:
        loan.cluster.rabbitmq(BROKER)
        installation.install_operator(loan.cluster)
        with connect(loan.cluster, BROKER) as broker:
            yield broker
