import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime

import pytest
from typing_extensions import override

from taskqueue_operator.rabbitmq.faults import CAUSES, UNTRUSTED_CERTIFICATE
from taskqueue_operator.rabbitmq.vhost import Vhost, VhostFactory
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key
from tests.cluster import ports
from tests.cluster.broker import Broker
from tests.cluster.certificates import Authority
from tests.integration.rabbitmq.conftest import probed

DEMANDS = ("verify = verify_peer", "fail_if_no_peer_cert = true")


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
async def opened() -> AsyncIterator[list[Vhost]]:
    made: list[Vhost] = []
    yield made
    for opened_vhost in made:
        await opened_vhost.close()


def connect(secret: Mapping[str, bytes], opened: list[Vhost]) -> Vhost:
    brokers = VhostFactory(lambda: datetime.now(UTC))
    opened.append(brokers.connect(brokers.endpoint(Key("media", "rabbitmq"), secret, None)))
    return opened[-1]


async def test_a_private_certificate_authority_in_the_secret_is_trusted(
    secret: dict[str, bytes], opened: list[Vhost]
) -> None:
    rabbitmq = connect(secret, opened)

    assert (await probed(rabbitmq, "missing")).missing
    assert await rabbitmq.sweep() == {}


async def test_a_client_certificate_of_the_secret_is_used(
    secret: dict[str, bytes], opened: list[Vhost], secure: Broker
) -> None:
    certificate = Authority(secure.ca_file.parent).issue("client", "app")
    secret |= {"tls.crt": certificate.read_bytes(), "tls.key": certificate.with_suffix(".key").read_bytes()}

    assert (await probed(connect(secret, opened), "missing")).missing


class Strict(Broker):
    """Requires a client certificate for AMQP and for the management API."""

    @override
    def _listeners(self) -> str:
        demand = [f"{side}.{option}" for side in ("ssl_options", "management.ssl") for option in DEMANDS]
        return super()._listeners() + "\n".join(demand) + "\n"

    @override
    def _answers(self) -> bool:
        return ports.answers(self.amqp_port) and ports.answers(self.management_port)


async def test_amqp_and_management_api_get_the_client_certificate(
    opened: list[Vhost], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Strict.start(tmp_path_factory.mktemp("mutual"), tls=True) as strict:
        secret = {
            "uri": strict.url.encode(),
            "management-uri": strict.management_url.encode(),
            "ca.crt": strict.ca_file.read_bytes(),
        }
        certificate = Authority(strict.ca_file.parent).issue("client", "app")
        ours = {"tls.crt": certificate.read_bytes(), "tls.key": certificate.with_suffix(".key").read_bytes()}
        stranger, friend = connect(secret, opened), connect(secret | ours, opened)

        for call in (stranger.probe(["jobs"]), stranger.sweep()):
            with pytest.raises(BrokerFault) as fault:
                await call
            assert fault.value.reason in {Reason.BROKER_UNREACHABLE, Reason.MANAGEMENT_UNREACHABLE}
            assert dict(CAUSES)[ssl.SSLError] in fault.value.message
        assert (await probed(friend, "missing")).missing
        assert await friend.sweep() == {}


@pytest.mark.parametrize("other_authority", [True, False])
async def test_a_certificate_of_an_unknown_authority_is_refused(
    secret: dict[str, bytes], opened: list[Vhost], tmp_path_factory: pytest.TempPathFactory, *, other_authority: bool
) -> None:
    if other_authority:
        secret["ca.crt"] = Authority(tmp_path_factory.mktemp("other")).certificate_file.read_bytes()
    else:
        del secret["ca.crt"]
    rabbitmq = connect(secret, opened)

    with pytest.raises(BrokerFault, match=UNTRUSTED_CERTIFICATE) as probe:
        await rabbitmq.probe(["jobs"])
    with pytest.raises(BrokerFault, match=UNTRUSTED_CERTIFICATE) as sweep:
        await rabbitmq.sweep()

    assert probe.value.reason is Reason.BROKER_UNREACHABLE
    assert sweep.value.reason is Reason.MANAGEMENT_UNREACHABLE


async def test_a_certificate_for_another_host_is_refused(secret: dict[str, bytes], opened: list[Vhost]) -> None:
    secret["uri"] = secret["uri"].replace(b"localhost", b"127.0.0.2")

    with pytest.raises(BrokerFault) as raised:
        await connect(secret, opened).probe(["jobs"])

    assert raised.value.reason is Reason.BROKER_UNREACHABLE
