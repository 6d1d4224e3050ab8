from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from taskqueue_drain.broker import BindingDirectory
from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.secret import parse_secret
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key
from tests.approved import assert_approved
from tests.cluster.certificates import Authority

SECRET = Key("media", "rabbitmq")
SPECIAL = "p@ss/w:rd%#?"


def parse(vhost: str | None = None, /, **data: str) -> Endpoint:
    """`ca_crt` stands for the key ca.crt, `management_uri` for management-uri."""
    dots = {"ca_crt": "ca.crt", "tls_crt": "tls.crt", "tls_key": "tls.key", "management_uri": "management-uri"}
    return parse_secret(SECRET, {dots.get(key, key): value.encode() for key, value in data.items()}, vhost)


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


def test_the_vhost_of_the_spec_overrides_the_path_of_the_uri() -> None:
    assert parse("media", uri="amqp://app:secret@broker/other").vhost == "media"


def test_without_a_uri_operator_and_worker_read_the_vhost_from_the_key_vhost(tmp_path: Path) -> None:
    keys = {"host": "rabbit", "username": "app", "password": "secret", "vhost": "media"}
    for key, text in keys.items():
        (tmp_path / key).write_text(text)
    data = {key: text.encode() for key, text in keys.items()}
    assert parse_secret(SECRET, data, None).vhost == BindingDirectory(tmp_path).read().vhost == "media"
    assert parse_secret(SECRET, data, "other").vhost == "other"


def test_a_password_with_special_characters_is_encoded_in_a_uri_and_plain_in_its_own_key() -> None:
    encoded = parse(uri=f"amqp://app:{quote(SPECIAL, safe='')}@broker/")
    plain = parse(host="broker", username="app", password=SPECIAL)

    assert encoded.password == plain.password == SPECIAL
    assert encoded == plain
    assert hash(encoded) == hash(plain)


def test_username_and_password_may_be_keys_beside_the_uri() -> None:
    endpoint = parse(uri="amqp://broker/media", username="app", password=SPECIAL)

    assert (endpoint.username, endpoint.password, endpoint.vhost) == ("app", SPECIAL, "media")


def test_operator_and_worker_read_the_same_username_and_password_beside_the_uri(tmp_path: Path) -> None:
    keys = {"uri": "amqp://rabbit/media", "username": "app", "password": "secret"}
    for key, text in keys.items():
        (tmp_path / key).write_text(text)
    operator, worker = parse(**keys), BindingDirectory(tmp_path).read()
    assert (worker.username, worker.password) == (operator.username, operator.password) == ("app", "secret")


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("broker:5673", None, "broker:5673"),
        ("broker:5673", "5673", "broker:5673"),
        ("[::1]:5673", None, "[::1]:5673"),
        ("[::1]", None, "[::1]:5672"),
        ("::1", None, "[::1]:5672"),
        ("192.0.2.1", "5673", "192.0.2.1:5673"),
        ("localhost", None, "localhost:5672"),
        ("xn--bcher-kva.example", None, "xn--bcher-kva.example:5672"),
    ],
)
def test_the_key_host_may_contain_the_port(host: str, port: str | None, address: str) -> None:
    keys = {"host": host, "username": "app", "password": "secret"} | ({"port": port} if port else {})
    assert parse(**keys).address == address


def test_the_keys_password_and_vhost_complete_a_uri() -> None:
    endpoint = parse(uri="amqp://app@broker", username="other", password="secret", vhost="media")
    assert (endpoint.username, endpoint.password, endpoint.vhost) == ("app", "secret", "media")


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


def test_a_ca_certificate_enables_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path).certificate_file.read_text()
    endpoint = parse(host="broker", username="app", password="secret", ca_crt=authority)
    assert endpoint.tls
    assert endpoint.port == 5671
    assert parse(host="broker", port="5673", username="app", password="secret", ca_crt=authority).tls


def test_port_5671_enables_tls() -> None:
    endpoint = parse(host="broker", port="5671", username="app", password="secret")

    assert endpoint.tls
    assert endpoint.management == "https://broker:15671"


@pytest.mark.parametrize(
    ("management_uri", "base", "user"),
    [
        ("https://broker", "https://broker:443", "app"),
        ("http://broker", "http://broker:80", "app"),
        ("http://broker:8080/", "http://broker:8080", "app"),
        ("https://broker:443/rabbit/media/", "https://broker:443/rabbit/media", "app"),
        ("https://broker/é a%2Fb/", "https://broker:443/%C3%A9%20a%2Fb", "app"),
        ("http://[::1]:15672", "http://[::1]:15672", "app"),
        ("http://reader:s%40cret@broker:15672", "http://broker:15672", "reader"),
    ],
)
def test_the_management_uri_may_contain_a_path_and_another_user(management_uri: str, base: str, user: str) -> None:
    endpoint = parse(uri="amqp://app:secret@broker", management_uri=management_uri)

    assert endpoint.management == base
    assert endpoint.management_username == user
    assert endpoint.management_password == ("secret" if user == "app" else "s@cret")


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    assert parse(uri="amqp://app:secret@[::1]/").address == "[::1]:5672"


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({}, "secret.empty"),
        ({"host": "broker", "username": "app"}, "secret.password_missing"),
        ({"uri": "amqp://broker/"}, "secret.username_missing_in_uri"),
        ({"uri": "amqp://app@broker/"}, "secret.password_missing_in_uri"),
        ({"uri": "amqp://app:secret@broker/a", "vhost": "b"}, "secret.two_vhosts"),
        ({"uri": f"amqp://app:secret@broker/{'v' * 128}"}, "secret.vhost_invalid"),
        ({"uri": "amqp://app:secret@broker/a%0Ab"}, "secret.vhost_invalid"),
        ({"uri": "amqp://app:secret@[::1::2]/"}, "secret.uri_invalid"),
        ({"uri": "amqp://app:secret@127.1/"}, "secret.uri_invalid"),
        ({"uri": b64encode(b"amqp://app:secret@broker/").decode()}, "secret.uri_encoded_twice"),
        ({"uri": "x" * 5000}, "secret.value_too_long"),
        ({"host": "amqp://app:secret@broker:5672/media"}, "secret.host_is_a_uri"),
        ({"host": "a broker"}, "secret.host_invalid"),
        ({"host": "broker:amqp"}, "secret.host_invalid"),
        ({"host": "app:secret@broker:5672"}, "secret.host_invalid"),
        ({"host": b64encode(b"rabbitmq.media.svc").decode()}, "secret.host_encoded_twice"),
        ({"host": "broker:5672", "port": "5673"}, "secret.two_ports"),
        ({"host": "broker", "port": b64encode(b"5672").decode()}, "secret.port_encoded_twice"),
        ({"host": "broker", "username": "a\0b", "password": "secret"}, "secret.null_character"),
        ({"host": "broker", "port": "amqp", "username": "app", "password": "secret"}, "secret.port_invalid"),
        ({"uri": "broker:5672"}, "secret.uri_invalid"),
        ({"uri": "amqp://app:secret@broker", "management_uri": "broker:15672"}, "secret.management_uri_invalid"),
        ({"uri": "amqp://app:%ff@broker"}, "secret.uri_encoding_invalid"),
        ({"uri": "amqps://app:secret@broker", "ca_crt": "no certificate"}, "secret.ca_invalid"),
        ({"uri": "amqps://app:secret@broker", "tls_crt": "x"}, "secret.tls_key_missing"),
        ({"uri": "amqps://app:secret@broker", "tls_crt": "x", "tls_key": "y"}, "secret.certificate_invalid"),
        ({"uri": "amqps://app:secret@broker", "tls_crt": "x", "tls_key": "y" * 4097}, "secret.private_key_too_long"),
        (
            {"uri": "amqps://app:secret@broker", "tls_crt": "-----BEGIN RSA PRIVATE KEY-----", "tls_key": "y"},
            "secret.private_key_in_the_certificate",
        ),
    ],
)
def test_an_invalid_secret_is_reported_with_its_key_and_the_way_out(data: dict[str, str], key: str) -> None:
    assert_approved(key, fault(**data))


@pytest.mark.parametrize("character", list("/#?"))
def test_a_password_that_needs_percent_encoding_is_reported_and_never_shown(character: str) -> None:
    """Invariant: secrets stay secret."""
    assert_approved("secret.uri_invalid", fault(uri=f"amqp://app:hunter{character}two@broker/"))


@pytest.mark.parametrize("character", list("@:"))
def test_a_password_that_is_unambiguous_without_encoding_is_accepted(character: str) -> None:
    assert parse(uri=f"amqp://app:hunter{character}two@broker/").password == f"hunter{character}two"


def test_a_value_that_is_not_utf8_text_is_refused() -> None:
    with pytest.raises(BrokerFault) as raised:
        parse_secret(SECRET, {"host": b"broker", "username": b"app", "password": b"\xff"}, None)
    assert raised.value.reason is Reason.SECRET_INVALID
    assert_approved("secret.value_not_text", raised.value.message)


def test_a_repr_contains_no_secret() -> None:
    endpoint = parse(uri="amqp://app:hunter2@broker", management_uri="http://reader:hunter3@broker")

    assert "hunter" not in repr(endpoint) + str(endpoint)


def test_no_server_selects_a_group_in_which_a_handshake_takes_long() -> None:
    endpoint = parse(uri="amqps://app:secret@broker")
    for protocol in ("amqp", "http"):
        exchanges = {str(cipher["kea"]) for cipher in endpoint.ssl_context(protocol).get_ciphers()}
        assert exchanges == {"kx-any", "kx-ecdhe"}
