"""Address and credentials, from a URI or from files."""

from pathlib import Path
from urllib.parse import quote

import pytest
from aio_pika.connection import make_url
from hypothesis import given
from hypothesis import strategies as st

from taskqueue_drain.broker import BindingDirectory, Broker, BrokerError, BrokerUri, Certificates, parse_uri
from tests.approved import assert_approved

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


def binding(directory: Path, **texts: str) -> BindingDirectory:
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
def test_a_uri_is_parsed(uri: str, broker: Broker) -> None:
    assert parse_uri(uri, "uri") == broker


@pytest.mark.slow
@given(user=TEXT, password=TEXT, vhost=TEXT)
def test_all_characters_of_credentials_reach_the_client_library(user: str, password: str, vhost: str) -> None:
    uri = f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@h/{quote(vhost, safe='')}"
    broker = parse_uri(uri, "uri")
    assert (broker.username, broker.password, broker.vhost) == (user, password, vhost)
    arguments = broker.connect_arguments("name")
    url = make_url(**{key: arguments[key] for key in ("host", "port", "login", "password", "virtualhost")})
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
def test_a_uri_that_is_not_valid_is_refused_and_not_quoted(uri: str) -> None:
    with pytest.raises(BrokerError) as error:
        parse_uri(uri, "RABBITMQ_URL")
    assert_approved("worker.broker.uri", str(error.value))
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_the_vhost_of_the_taskqueue_overrides_the_path_of_the_uri() -> None:
    assert BrokerUri("amqp://h/path", "media").read().vhost == "media"
    assert BrokerUri("amqp://h/path").read().vhost == "path"


def test_keys_of_a_binding_are_used_unchanged_but_for_the_line_break_at_the_end(tmp_path: Path) -> None:
    source = binding(tmp_path, host="h\n", username="u%20\n", password=" p%41 \r\n", vhost="a/b\n", type="rabbitmq")
    assert source.read() == Broker("h", 5672, "u%20", " p%41 ", "a/b")


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
def test_the_port_or_the_ca_selects_tls(tmp_path: Path, keys: dict[str, str], port: int, tls: bool) -> None:  # noqa: FBT001 - a column of the table
    broker = binding(tmp_path, host="h", username="u", password="p", **keys).read()
    assert (broker.port, broker.tls) == (port, tls)


def test_a_uri_overrides_the_keys_and_uses_the_certificates(tmp_path: Path) -> None:
    broker = binding(tmp_path, uri="amqps://a:b@c/", host="h", username="u", ca_crt="", tls_crt="", tls_key="").read()
    assert broker.host == "c"
    assert broker.certificates == Certificates(tmp_path / "ca.crt", tmp_path / "tls.crt", tmp_path / "tls.key")


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("worker.broker.missing_keys", {"host": "h"}),
        ("worker.broker.port", {"host": "h", "username": "u", "password": "p", "port": "amqp"}),
        ("worker.broker.binding_uri", {"uri": "amqp:"}),
    ],
)
def test_the_error_of_a_binding_names_the_missing_or_wrong_keys(tmp_path: Path, key: str, keys: dict[str, str]) -> None:
    with pytest.raises(BrokerError) as error:
        binding(tmp_path, **keys).read()
    assert_approved(key, str(error.value).replace(str(tmp_path), "DIRECTORY"))


def test_a_certificate_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    broker = binding(tmp_path, uri="amqps://a:b@c/", ca_crt="no certificate").read()
    with pytest.raises(BrokerError, match=r"ca\.crt"):
        broker.connect_arguments("name")
