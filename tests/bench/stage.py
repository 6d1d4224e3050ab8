"""The cluster of this machine, with RabbitMQ, and the operator as Helm installs it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from tests.cluster import installation
from tests.cluster.lane import Cluster
from tests.cluster.loan import BROKER, borrow
from tests.e2e.broker import Broker
from tests.e2e.team import Address


class Stage(NamedTuple):
    """A cluster, and the broker in it."""

    cluster: Cluster
    broker: Broker
    address: Address


@contextmanager
def stage() -> Iterator[Stage]:
    """Lend one, and leave the cluster as it was found: up, or gone."""
    with borrow() as loan:
        cluster = loan.cluster
        inside = cluster.rabbitmq(BROKER).partition("@")[2].rstrip("/")
        installation.install_operator(cluster)
        with (
            cluster.port_forward(BROKER, "service/rabbitmq", 5672) as amqp,
            cluster.port_forward(BROKER, "service/rabbitmq", 15672) as management,
            closing(Broker(f"http://guest:guest@127.0.0.1:{management}")) as broker,
        ):
            yield Stage(cluster, broker, Address(inside, f"amqp://guest:guest@127.0.0.1:{amqp}"))
