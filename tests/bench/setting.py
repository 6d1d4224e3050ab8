"""What benchmarks run on: the cluster of this machine, with RabbitMQ, and the operator as Helm installs it."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from tests.cluster import installation
from tests.cluster.lane import Cluster
from tests.cluster.loan import BROKER, borrow
from tests.e2e.broker import Broker
from tests.e2e.team import Address


class Setting(NamedTuple):
    """A cluster, the broker in it, and the commit that its operator was built from."""

    cluster: Cluster
    broker: Broker
    address: Address
    commit: str


@contextmanager
def setting() -> Iterator[Setting]:
    """Lend one, and leave the cluster as it was found: up, or gone."""
    with borrow() as loan:
        cluster = loan.cluster
        inside = cluster.rabbitmq(BROKER).partition("@")[2].rstrip("/")
        commit = _commit()
        installation.install_operator(cluster)
        with (
            cluster.port_forward(BROKER, "service/rabbitmq", 5672) as amqp,
            cluster.port_forward(BROKER, "service/rabbitmq", 15672) as management,
            closing(Broker(f"http://guest:guest@127.0.0.1:{management}")) as broker,
        ):
            yield Setting(cluster, broker, Address(inside, f"amqp://guest:guest@127.0.0.1:{amqp}"), commit)


def _commit() -> str:
    """Name the commit of the checkout, with `-dirty` when that is not quite what is built."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(describe, cwd=installation.ROOT, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.strip() or "unknown"
