from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime

import pytest

from taskqueue_operator.rabbitmq.broker import RabbitMQ, RabbitMQs
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key
from tests.cluster.broker import Broker
from tests.cluster.certificates import Authority
from tests.integration.rabbitmq.conftest import probed


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker.start(tmp_path_factory.mktemp("tls"), tls=True) as broker:
        yield broker


@pytest.fixture
def secret(secure: Broker) -> dict[str, bytes]:
    return {
        "uri": secure.url.encode(),
        "management-uri": secure.management_url.encode(),
        "ca.crt": secure.ca_file.read_bytes(),
    }


@pytest.fixture
async def opened() -> AsyncIterator[list[RabbitMQ]]:
    made: list[RabbitMQ] = []
    yield made
    for each in made:
        await each.close()


def connect(secret: Mapping[str, bytes], opened: list[RabbitMQ]) -> RabbitMQ:
    brokers = RabbitMQs(lambda: datetime.now(UTC))
    opened.append(brokers.connect(brokers.endpoint(Key("media", "rabbitmq"), secret, None)))
    return opened[-1]


async def test_a_private_authority_is_trusted_when_the_secret_has_it(
    secret: dict[str, bytes], opened: list[RabbitMQ]
) -> None:
    rabbitmq = connect(secret, opened)

    assert (await probed(rabbitmq, "missing")).missing
    assert await rabbitmq.sweep() == {}


async def test_a_client_certificate_is_presented(
    secret: dict[str, bytes], opened: list[RabbitMQ], secure: Broker
) -> None:
    certificate = Authority(secure.ca_file.parent).issue("client", "app")
    secret |= {"tls.crt": certificate.read_bytes(), "tls.key": certificate.with_suffix(".key").read_bytes()}

    assert (await probed(connect(secret, opened), "missing")).missing


@pytest.mark.parametrize("other_authority", [True, False])
async def test_a_certificate_of_an_unknown_authority_is_refused(
    secret: dict[str, bytes], opened: list[RabbitMQ], tmp_path_factory: pytest.TempPathFactory, *, other_authority: bool
) -> None:
    if other_authority:
        secret["ca.crt"] = Authority(tmp_path_factory.mktemp("other")).certificate_file.read_bytes()
    else:
        del secret["ca.crt"]
    rabbitmq = connect(secret, opened)

    with pytest.raises(BrokerFault, match="its certificate is not trusted") as probe:
        await rabbitmq.probe(["jobs"])
    with pytest.raises(BrokerFault, match="its certificate is not trusted") as sweep:
        await rabbitmq.sweep()

    assert probe.value.reason is Reason.BROKER_UNREACHABLE
    assert sweep.value.reason is Reason.MANAGEMENT_UNREACHABLE


async def test_a_certificate_for_another_host_is_refused(secret: dict[str, bytes], opened: list[RabbitMQ]) -> None:
    secret["uri"] = secret["uri"].replace(b"localhost", b"127.0.0.2")

    with pytest.raises(BrokerFault) as trouble:
        await connect(secret, opened).probe(["jobs"])

    assert trouble.value.reason is Reason.BROKER_UNREACHABLE
