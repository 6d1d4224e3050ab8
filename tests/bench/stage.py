"""The cluster of this machine, with RabbitMQ, and the operator as Helm installs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.cluster import installation
from tests.cluster.lane import Cluster
from tests.cluster.loan import BROKER, borrow
from tests.e2e.cluster_broker import connect
from tests.e2e.management_api import ManagementApi
from tests.e2e.tenant import BrokerAddress


class Stage(NamedTuple):
    """A cluster, and the broker in it."""

    cluster: Cluster
    broker: ManagementApi
    address: BrokerAddress


@contextmanager
def stage() -> Iterator[Stage]:
    """Lend one, and leave the cluster as it was found: up, or gone."""
    with borrow() as loan:
        cluster = loan.cluster
        cluster.rabbitmq(BROKER)
        installation.install_operator(cluster)
        with connect(cluster, BROKER) as broker:
            yield Stage(cluster, broker.api, broker.address)
