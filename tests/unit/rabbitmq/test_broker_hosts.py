"""Which hosts the operator contacts as brokers."""

import contextlib

import pytest

from taskqueue_operator.rabbitmq.broker_hosts import BrokerHosts, ForbiddenHostError

INTERNAL = ("127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1%eth0", "::", "224.0.0.1")
EMBEDDED = ("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::7f00:1", "2002:7f00:1::")
"""IPv6 addresses that stand for internal IPv4 addresses."""
BROKER = "10.1.2.3"


@pytest.mark.parametrize("entries", [(), ("*",), ("broker.example.com",)])
@pytest.mark.parametrize("address", INTERNAL + EMBEDDED)
def test_a_name_never_leads_to_an_internal_address(entries: tuple[str, ...], address: str) -> None:
    assert BrokerHosts(entries).allowed("broker.example.com", [address, BROKER]) == [BROKER]


@pytest.mark.parametrize(
    ("entry", "address"),
    [("127.0.0.0/8", "127.0.0.1"), ("127.0.0.0/8", "::ffff:127.0.0.1"), ("::1", "::1"), ("10.0.0.0/8", BROKER)],
)
def test_an_entry_with_the_network_allows_the_address(entry: str, address: str) -> None:
    assert BrokerHosts([entry]).allowed("anything.example.com", [address]) == [address]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("rabbitmq.shop.svc", True),
        ("RabbitMQ.shop.svc.", True),
        ("b-1.mq.example.com", True),
        ("a.b-1.mq.example.com", True),
        ("mq.example.com", False),
        ("evilmq.example.com", False),
        ("rabbitmq.shop.svc.evil.com", False),
        ("10.9.9.9", False),
    ],
)
def test_with_names_only_those_hosts_are_contacted(host: str, allowed: bool) -> None:  # noqa: FBT001  a table
    hosts = BrokerHosts(["rabbitmq.shop.svc", "*.MQ.example.com"])
    assert hosts.names(host) is allowed
    with contextlib.nullcontext() if allowed else pytest.raises(ForbiddenHostError):
        hosts.allowed(host, ["10.9.9.9"])


def test_names_and_networks_can_be_combined() -> None:
    hosts = BrokerHosts(["*", "127.0.0.0/8"])
    assert hosts.allowed("localhost", ["::1", "127.0.0.1"]) == ["127.0.0.1"]
    assert hosts.allowed("broker", [BROKER]) == [BROKER]


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "a*b", "*.*.com", "amqp://broker", "broker:5672", "b/c"])
def test_an_entry_that_is_neither_a_name_nor_a_network_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        BrokerHosts([entry])


def test_without_entries_no_host_is_named() -> None:
    assert not BrokerHosts().names("broker.example.com")
    assert BrokerHosts(["*"]).names("broker.example.com")
    assert BrokerHosts(["10.0.0.0/8"]).names(BROKER)
