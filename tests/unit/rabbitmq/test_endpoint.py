from pathlib import Path
from urllib.parse import quote

import pytest

from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_worker.broker import BindingDirectory
from tests.cluster.certificates import Authority

SECRET = Key("media", "rabbitmq")
WEIRD = "p@ss/w:rd%#?"
FORM = (
    "Percent-encode characters such as @ : / ? # % in user name and password, "
    "or give host, port, username and password instead."
)


def parse(vhost: str | None = None, **data: str) -> Endpoint:
    """`ca_crt` stands for the key ca.crt, `management_uri` for management-uri."""
    dots = {"ca_crt": "ca.crt", "tls_crt": "tls.crt", "tls_key": "tls.key", "management_uri": "management-uri"}
    return Endpoint.parse(SECRET, {dots.get(key, key): value.encode() for key, value in data.items()}, vhost)


def fault(**data: str) -> str:
    with pytest.raises(BrokerFault) as raised:
        parse(**data)
    assert raised.value.reason is Reason.SECRET_INVALID
    assert raised.value.terminal
    assert raised.value.__cause__ is None
    return raised.value.message


@pytest.mark.parametrize(
    ("uri", "host", "port", "vhost", "tls"),
    [
        ("amqp://app:secret@broker", "broker", 5672, "/", False),
        ("amqp://app:secret@broker/", "broker", 5672, "/", False),
        ("amqp://app:secret@broker:5673/%2F", "broker", 5673, "/", False),
        ("amqp://app:secret@broker//", "broker", 5672, "/", False),
        ("amqp://app:secret@broker/media", "broker", 5672, "media", False),
        ("amqp://app:secret@broker/a%2Fb?heartbeat=5", "broker", 5672, "a/b", False),
        ("amqps://app:secret@broker", "broker", 5671, "/", True),
        ("amqp://app:secret@[2001:db8::1]:5673/media", "2001:db8::1", 5673, "media", False),
        ("amqp://app:secret@broker/media\n", "broker", 5672, "media", False),
    ],
)
def test_a_uri_names_host_port_and_vhost(uri: str, host: str, port: int, vhost: str, *, tls: bool) -> None:
    endpoint = parse(uri=uri)

    assert (endpoint.host, endpoint.port, endpoint.vhost, endpoint.tls) == (host, port, vhost, tls)
    assert (endpoint.username, endpoint.password) == ("app", "secret")


def test_the_vhost_of_the_spec_beats_the_path_of_the_uri() -> None:
    assert parse("media", uri="amqp://app:secret@broker/other").vhost == "media"


def test_without_a_uri_the_secret_may_name_the_vhost_as_it_does_for_the_workers(tmp_path: Path) -> None:
    keys = {"host": "rabbit", "username": "app", "password": "secret", "vhost": "media"}
    for key, text in keys.items():
        (tmp_path / key).write_text(text)
    data = {key: text.encode() for key, text in keys.items()}
    assert Endpoint.parse(SECRET, data, None).vhost == BindingDirectory(tmp_path).read().vhost == "media"
    assert Endpoint.parse(SECRET, data, "other").vhost == "other"


def test_a_weird_password_is_percent_encoded_in_a_uri_and_plain_in_its_own_key() -> None:
    encoded = parse(uri=f"amqp://app:{quote(WEIRD, safe='')}@broker/")
    plain = parse(host="broker", username="app", password=WEIRD)

    assert encoded.password == plain.password == WEIRD
    assert encoded == plain
    assert hash(encoded) == hash(plain)


def test_user_and_password_may_stand_beside_the_uri() -> None:
    endpoint = parse(uri="amqp://broker/media", username="app", password=WEIRD)

    assert (endpoint.username, endpoint.password, endpoint.vhost) == ("app", WEIRD, "media")


def test_user_and_password_beside_the_uri_are_those_of_the_workers_too(tmp_path: Path) -> None:
    keys = {"uri": "amqp://rabbit/media", "username": "app", "password": "secret"}
    for key, text in keys.items():
        (tmp_path / key).write_text(text)
    ours, theirs = parse(**keys), BindingDirectory(tmp_path).read()
    assert (theirs.username, theirs.password) == (ours.username, ours.password) == ("app", "secret")


def test_the_default_user_secret_of_the_cluster_operator_works() -> None:
    endpoint = parse(
        default_user="default_user = u\ndefault_pass = p\n",
        host="rabbitmq.media.svc",
        port="5672",
        username="default_user_Xy",
        password="secret",
        provider="rabbitmq",
        type="rabbitmq",
        connection_string="amqp://default_user_Xy:secret@rabbitmq.media.svc:5672/",
    )

    assert endpoint.address == "rabbitmq.media.svc:5672"
    assert endpoint.management == "http://rabbitmq.media.svc:15672"


def test_a_certificate_to_trust_means_tls_as_it_does_for_the_workers(tmp_path: Path) -> None:
    authority = Authority(tmp_path).certificate_file.read_text()
    endpoint = parse(host="broker", username="app", password="secret", ca_crt=authority)
    assert endpoint.tls
    assert endpoint.port == 5671
    assert parse(host="broker", port="5673", username="app", password="secret", ca_crt=authority).tls


def test_port_5671_means_tls() -> None:
    endpoint = parse(host="broker", port="5671", username="app", password="secret")

    assert endpoint.tls
    assert endpoint.management == "https://broker:15671"


@pytest.mark.parametrize(
    ("management_uri", "base", "user"),
    [
        ("https://broker", "https://broker:15671", "app"),
        ("http://broker:8080/", "http://broker:8080", "app"),
        ("https://broker:443/rabbit/media/", "https://broker:443/rabbit/media", "app"),
        ("http://[::1]:15672", "http://[::1]:15672", "app"),
        ("http://reader:s%40cret@broker:15672", "http://broker:15672", "reader"),
    ],
)
def test_the_management_uri_may_have_a_path_and_a_user_of_its_own(management_uri: str, base: str, user: str) -> None:
    endpoint = parse(uri="amqp://app:secret@broker", management_uri=management_uri)

    assert endpoint.management == base
    assert endpoint.management_username == user
    assert endpoint.management_password == ("secret" if user == "app" else "s@cret")


def test_addresses_are_for_people() -> None:
    assert parse(uri="amqp://app:secret@[::1]/").address == "[::1]:5672"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, 'has neither the key uri nor the key host. Set uri to "amqp://USER:PASS@HOST/".'),
        (
            {"host": "broker", "username": "app"},
            'has no key password. Set uri to "amqp://USER:PASS@HOST/", or add the key password.',
        ),
        (
            {"uri": "amqp://broker/"},
            ("has a uri without user, and no key username. "
            'Set uri to "amqp://USER:PASS@HOST/", or add the key username.'),
        ),
        (
            {"host": "broker", "port": "amqp", "username": "app", "password": "secret"},
            "has a key port that is not a port number. Set it to a number such as 5672.",
        ),
        ({"uri": "broker:5672"}, f"has a key uri that is not of the form amqp://USER:PASS@HOST:PORT/. {FORM}"),
        (
            {"uri": "amqp://app:secret@broker", "management_uri": "broker:15672"},
            f"has a key management-uri that is not of the form http://USER:PASS@HOST:PORT/. {FORM}",
        ),
        (
            {"uri": "amqp://app:%ff@broker"},
            f"has a key uri whose percent-encoding is not UTF-8. {FORM}",
        ),
        (
            {"uri": "amqps://app:secret@broker", "ca_crt": "no certificate"},
            "has a key ca.crt that is not PEM, or does not fit the other. Set it anew.",
        ),
        (
            {"uri": "amqps://app:secret@broker", "tls_crt": "x"},
            "has only one of the keys tls.crt and tls.key. Add the other, or remove both.",
        ),
        (
            {"uri": "amqps://app:secret@broker", "tls_crt": "x", "tls_key": "y"},
            "has a key tls.crt or tls.key that is not PEM, or does not fit the other. Set it anew.",
        ),
    ],
)  # fmt: skip
def test_bad_secrets_are_named_with_key_and_way_out(data: dict[str, str], message: str) -> None:
    assert fault(**data) == f"Secret media/rabbitmq {message}"


@pytest.mark.parametrize("character", list("/#?"))
def test_a_password_that_needs_encoding_is_asked_for_and_never_shown(character: str) -> None:
    """Invariant: secrets stay secret."""
    message = fault(uri=f"amqp://app:hunter{character}two@broker/")

    assert message == f"Secret media/rabbitmq has a key uri that is not of the form amqp://USER:PASS@HOST:PORT/. {FORM}"


@pytest.mark.parametrize("character", list("@:"))
def test_a_password_that_is_clear_without_encoding_is_understood(character: str) -> None:
    assert parse(uri=f"amqp://app:hunter{character}two@broker/").password == f"hunter{character}two"


def test_data_that_is_not_text_is_refused() -> None:
    with pytest.raises(BrokerFault, match="has a key password that is not UTF-8 text"):
        Endpoint.parse(SECRET, {"host": b"broker", "username": b"app", "password": b"\xff"}, None)


def test_no_secret_shows_in_a_repr() -> None:
    endpoint = parse(uri="amqp://app:hunter2@broker", management_uri="http://reader:hunter3@broker")

    assert "hunter" not in repr(endpoint) + str(endpoint)
