"""One real cluster, one RabbitMQ and one operator for all tests; to each test a team of its own.

Several processes run these tests at once. A test that disturbs the operator or the broker that all of them use is
marked `exclusive`: it runs while no other end-to-end test does, in no process. All other tests run side by side.
"""

import asyncio
import re
from collections.abc import Generator, Iterator
from uuid import uuid4

import pytest

from tests.cluster import Cluster
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.loan import BROKER, Loan, borrow, wait_until_up
from tests.e2e import environment
from tests.e2e.application import OURS, Application
from tests.e2e.broker import Broker
from tests.e2e.operator import Operator
from tests.e2e.team import Address, Team

# Otherwise pytest-asyncio, asking for the loop that was current before, makes one that nobody closes.
asyncio.set_event_loop(None)


_access = environment.Access()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Wait for the cluster, and for the end of tests beside which this one may not run, before its time begins."""
    wait_until_up()
    with _access.during(exclusive=_is_exclusive(item), next_exclusive=nextitem is not None and _is_exclusive(nextitem)):
        return (yield)


def _is_exclusive(item: pytest.Item) -> bool:
    return item.get_closest_marker("exclusive") is not None


@pytest.fixture(scope="session")
def loan() -> Iterator[Loan]:
    """The cluster of this machine; the last process of the run leaves it as the first one found it: up, or gone."""
    with borrow() as loan:
        yield loan


@pytest.fixture(scope="session")
def real_cluster(loan: Loan) -> Cluster:
    return loan.cluster


@pytest.fixture(scope="session")
def broker(loan: Loan) -> Iterator[tuple[Broker, Address]]:
    inside = environment.start_broker(loan)
    with (
        loan.cluster.port_forward(BROKER, "service/rabbitmq", 5672) as amqp,
        loan.cluster.port_forward(BROKER, "service/rabbitmq", 15672) as management,
    ):
        client = Broker(f"http://guest:guest@127.0.0.1:{management}")
        yield client, Address(inside, f"amqp://guest:guest@127.0.0.1:{amqp}")
        client.close()


@pytest.fixture(scope="session")
def operator(loan: Loan) -> Operator:
    environment.start_operator(loan)
    return Operator(loan.cluster)


@pytest.fixture
def application() -> Application:
    """What the workers of the team run."""
    return OURS


@pytest.fixture
def team(
    request: pytest.FixtureRequest,
    real_cluster: Cluster,
    operator: Operator,  # noqa: ARG001 - it is what the team relies on
    broker: tuple[Broker, Address],
    application: Application,
) -> Iterator[Team]:
    short = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:40].strip("-")
    team = Team(real_cluster, *broker, f"{short}-{uuid4().hex[:6]}", application)
    team.move_in()
    yield team
    team.move_out()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[None],  # noqa: ARG001 - pytest's own signature
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what somebody who looks at it would ask first."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("real_cluster")
    if report.failed and cluster is not None:
        of_operator = ("logs", f"--namespace={SYSTEM}", f"deployment/{RELEASE}", "--tail=200")
        report.sections += [("operator", cluster.kubectl(*of_operator, check=False)), ("cluster", cluster.diagnosis())]
    return report
