"""Addresses and logins, from a URI or from files."""

from pathlib import Path
from urllib.parse import quote

import pytest
from aio_pika.connection import make_url
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_worker.broker import BindingDirectory, Broker, BrokerError, BrokerUri, Certificates, parse_uri

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
WAY_OUT = "Write amqp://USER:PASSWORD@HOST/VHOST, with special characters percent-encoded (/ is %2F, @ is %40)."


def files(directory: Path, **texts: str) -> BindingDirectory:
    for key, text in texts.items():
        (directory / key.replace("_", ".")).write_text(text)
    return BindingDirectory(directory)


@pytest.mark.parametrize(
    ("uri", "broker"),
    [
        ("amqp://u:p@h", Broker("h", 5672, "u", "p")),
        ("amqp://u:p@h/", Broker("h", 5672, "u", "p")),
        ("amqp://u:p@h/%2F", Broker("h", 5672, "u", "p")),
        ("amqp://u:p@h:1234/media", Broker("h", 1234, "u", "p", "media")),
        ("amqp://u:p@h/a%2Fb", Broker("h", 5672, "u", "p", "a/b")),
        ("amqps://u:p@h/media?heartbeat=1&no_verify_ssl=1", Broker("h", 5671, "u", "p", "media", tls=True)),
        ("amqp://h", Broker("h", 5672, "guest", "guest")),
        ("amqp://[::1]:1/v", Broker("::1", 1, "guest", "guest", "v")),
    ],
)
def test_uris(uri: str, broker: Broker) -> None:
    assert parse_uri(uri, "uri") == broker


@given(user=TEXT, password=TEXT, vhost=TEXT)
def test_whatever_is_in_a_login_reaches_the_client_library(user: str, password: str, vhost: str) -> None:
    uri = f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@h/{quote(vhost, safe='')}"
    broker = parse_uri(uri, "uri")
    assert (broker.username, broker.password, broker.vhost) == (user, password, vhost)
    given = broker.connect_arguments("name")
    url = make_url(**{key: given[key] for key in ("host", "port", "login", "password", "virtualhost")})
    assert (url.user, url.password) == (user, password)


@pytest.mark.parametrize(
    "uri",
    [
        "amqp://u:verysecret/@h:x/",
        "http://u:verysecret@h/",
        "u:verysecret@h",
        "amqp://u:verysecret@/",
        "amqp://[verysecret",
    ],
)
def test_what_is_no_uri_is_refused_without_being_quoted(uri: str) -> None:
    with pytest.raises(BrokerError) as refusal:
        parse_uri(uri, "RABBITMQ_URL")
    assert str(refusal.value) == f"RABBITMQ_URL is not an AMQP URI. {WAY_OUT}"
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


def test_the_vhost_of_the_taskqueue_beats_the_path_of_the_uri() -> None:
    assert BrokerUri("amqp://h/path", "media").read().vhost == "media"
    assert BrokerUri("amqp://h/path").read().vhost == "path"


def test_a_binding_by_keys_is_not_encoded_and_loses_its_line_ends(tmp_path: Path) -> None:
    binding = files(tmp_path, host="h\n", username="u%20\n", password=" p%41 \r\n", vhost="a/b\n", type="rabbitmq")
    assert binding.read() == Broker("h", 5672, "u%20", " p%41 ", "a/b")


@pytest.mark.parametrize(
    ("keys", "port", "tls"),
    [
        ({}, 5672, False),
        ({"port": "5671"}, 5671, True),
        ({"ca_crt": "pem"}, 5671, True),
        ({"ca_crt": "pem", "port": "1234"}, 1234, True),
        ({"port": "1234"}, 1234, False),
    ],
)
def test_when_a_binding_by_keys_means_tls(tmp_path: Path, keys: dict[str, str], port: int, tls: bool) -> None:  # noqa: FBT001 - a column of the table
    broker = files(tmp_path, host="h", username="u", password="p", **keys).read()
    assert (broker.port, broker.tls) == (port, tls)


def test_a_uri_comes_before_keys_and_certificates_go_with_it(tmp_path: Path) -> None:
    broker = files(tmp_path, uri="amqps://a:b@c/", host="h", username="u", ca_crt="", tls_crt="", tls_key="").read()
    assert broker.host == "c"
    assert broker.certificates == Certificates(tmp_path / "ca.crt", tmp_path / "tls.crt", tmp_path / "tls.key")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"host": "h"},
            "{} has no uri and no username, password. The Secret needs uri, or host, port, username and password.",
        ),
        ({"host": "h", "username": "u", "password": "p", "port": "amqp"}, "{}/port is not a number."),
        ({"uri": "amqp:"}, "{}/uri is not an AMQP URI. " + WAY_OUT),
    ],
)
def test_a_binding_that_lacks_something_says_what(tmp_path: Path, keys: dict[str, str], message: str) -> None:
    with pytest.raises(BrokerError) as refusal:
        files(tmp_path, **keys).read()
    assert str(refusal.value) == message.format(tmp_path)


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    broker = files(tmp_path, uri="amqps://a:b@c/", ca_crt="no certificate").read()
    with pytest.raises(BrokerError, match="The broker's certificates cannot be loaded"):
        broker.connect_arguments("name")
