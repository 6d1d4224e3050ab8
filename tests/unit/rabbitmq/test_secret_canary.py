"""No value of a Secret is repeated, wherever a user puts the password; and worker and operator read a Secret alike."""

import traceback
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskqueue_drain.broker import BindingDirectory, Broker, BrokerError
from taskqueue_operator.rabbitmq import faults
from taskqueue_operator.rabbitmq.endpoint import Endpoint
from taskqueue_operator.rabbitmq.secret import parse_secret
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key

SECRET = Key("media", "rabbitmq")
CANARY = "kanarienvogel"
URI = f"amqp://app:{CANARY}@broker:5672/vhost"
KEYS = {"host": "broker", "username": "app", "password": CANARY}

WRONG_SECRETS = [
    {"host": URI},
    {"host": URI, "username": "app", "password": CANARY},
    {"host": f"app:{CANARY}@broker"},
    {"host": f"{CANARY}/"},
    {"host": f"broker:{CANARY}"},
    {"host": b64encode(URI.encode()).decode()},
    KEYS | {"port": CANARY},
    KEYS | {"port": f"5672/{CANARY}"},
    KEYS | {"password": f"{CANARY}\0"},
    KEYS | {"ca.crt": CANARY},
    KEYS | {"tls.crt": CANARY, "tls.key": CANARY},
    KEYS | {"management-uri": CANARY},
    KEYS | {"management-uri": f"https://app:{CANARY}@broker:port"},
    KEYS | {"management-uri": f"https://app:{CANARY}/x@broker"},
    KEYS | {"management-uri": URI},
    {"uri": CANARY},
    {"uri": f"amqp://{CANARY}"},
    {"uri": f"amqp://{CANARY}@broker"},
    {"uri": f"amqp://app:{CANARY}"},
    {"uri": f"amqp://app:{CANARY}@"},
    {"uri": f"amqp://app:{CANARY}@[::1::2]/"},
    {"uri": f"amqp://app:{CANARY}@[broker/"},
    {"uri": f"amqp://app:{CANARY}@bro]ker/"},
    {"uri": f"amqp://app:{CANARY}@broker:99999/"},
    {"uri": f"amqp://app:{CANARY}/x@broker"},
    {"uri": f"amqp://app:{CANARY}#@broker"},
    {"uri": f"amqp://app:{CANARY}%ff@broker"},
    {"uri": f"amqp://app:{CANARY}@bro ker/"},
    {"uri": f"amqp://app:{CANARY}\u2100@broker/"},  # ends the host in the normal form that urlsplit checks
    {"uri": f"amqp://app:secret@broker/{CANARY}", "vhost": "another"},
    {"uri": f"amqp://app:secret@broker/{CANARY * 12}"},
    {"uri": f"http://app:{CANARY}@broker"},
    {"uri": f"https://app:{CANARY}@broker"},
    {"uri": f"'{URI}'"},
    {"uri": f"{URI}\n{URI}"},
    {"uri": b64encode(URI.encode()).decode()},
    {"url": URI},
    {"username": "app", "password": CANARY},
]
"""Secrets that are refused, with the password at all the places at which users put it."""

REFUSED_BY_THE_BROKER = [
    {"host": "broker", "username": CANARY, "password": "app"},  # swapped
    {"host": "broker", "username": URI, "password": CANARY},
    {"uri": f"amqp://{CANARY}:app@broker/"},
    KEYS | {"management-uri": f"http://{CANARY}:app@broker/{CANARY}"},
]
"""Secrets that can be parsed; the broker refuses the user."""


@pytest.mark.parametrize("data", WRONG_SECRETS, ids=str)
def test_a_refused_secret_is_not_quoted(data: dict[str, str]) -> None:
    with pytest.raises(BrokerFault) as raised:
        parse_secret(SECRET, encoded(data), None)
    assert raised.value.reason is Reason.SECRET_INVALID
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + raised.value.message
    assert CANARY not in shown
    assert "media/rabbitmq" in raised.value.message


@pytest.mark.parametrize("data", WRONG_SECRETS, ids=str)
def test_a_worker_does_not_quote_a_secret(data: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    source = binding(tmp_path / "mount", data)
    try:
        source.read().connect_arguments("worker")
    except BrokerError as error:
        assert CANARY not in "".join(traceback.format_exception(error)) + repr(error)  # noqa: PT017  it may be accepted
    assert CANARY not in repr(source)


@pytest.mark.parametrize("data", REFUSED_BY_THE_BROKER, ids=str)
def test_a_refused_user_is_not_quoted(data: dict[str, str]) -> None:
    endpoint = parse_secret(SECRET, encoded(data), None)
    shown = [
        faults.wrong_password(endpoint).message,
        faults.wrong_management_password(endpoint).message,
        faults.unreachable(endpoint, "no answer in time").message,
        faults.management_unreachable(endpoint, "no answer in time").message,
        endpoint.address,
        endpoint.management_address,
        repr(endpoint),
    ]
    assert CANARY not in "".join(shown)


HOSTS = st.sampled_from(["broker", "a.b", "[::1]", "::1", "broker:5673", "[::1]:5673", "", "a b", "amqp://x", "1.2.3"])
TEXTS = st.text(max_size=30) | st.text(alphabet="amqps:/@[]%2F?#.:0123456789\0\n= ", max_size=40)
URIS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["amqp", "amqps", "http", "", "AMQP"]),
    st.sampled_from(["", "app@", "app:pass@", ":@", "a:b:c@", "%zz:%ff@", "%40:%2F@"]),
    HOSTS,
    st.sampled_from(["", ":5672", ":0", ":x", ":99999"]),
    st.sampled_from(["", "/", "/%2F", "/v", "/a/b", "?x=1", "/v?x", "/\N{SNOWMAN}"]),
)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "uri": URIS | TEXTS,
        "host": HOSTS | TEXTS,
        "port": st.sampled_from(["5672", "5671", "", "0", "٣", "1e3", "65536"]) | TEXTS,
        "username": TEXTS,
        "password": TEXTS,
        "vhost": st.sampled_from(["v", "/", ""]) | TEXTS,
        "management-uri": URIS | TEXTS,
        "ca.crt": st.sampled_from(["", "x"]),
        "tls.crt": st.sampled_from(["", "x"]),
    },
)


@given(DATA, st.sampled_from([None, "media"]))
@example({"uri": "amqp://u:p@[::1::2]/"}, None)
def test_a_secret_is_parsed_or_refused(data: dict[str, str], vhost: str | None) -> None:
    endpoint = parsed(data, vhost)
    if endpoint is not None:
        assert "/" not in endpoint.host
        assert 0 < endpoint.port < 65536
        assert endpoint.username
        assert endpoint.password


@given(st.dictionaries(st.sampled_from(["uri", "host", "port", "password", "management-uri"]), st.binary(max_size=60)))
def test_any_bytes_are_parsed_or_refused(data: dict[str, bytes]) -> None:
    try:
        parse_secret(SECRET, data, None)
    except BrokerFault as fault:
        assert fault.reason is Reason.SECRET_INVALID  # noqa: PT017  most are refused, not all


@given(data=DATA.filter(lambda data: not {"ca.crt", "tls.crt"} & data.keys()), vhost=st.sampled_from([None, "media"]))
@pytest.mark.slow
def test_a_worker_reads_what_the_operator_reads(
    data: dict[str, str], vhost: str | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    endpoint = parsed(data, vhost)
    if endpoint is None:
        return
    read = binding(tmp_path_factory.mktemp("binding"), data, vhost).read()
    assert read == Broker(
        endpoint.host, endpoint.port, endpoint.username, endpoint.password, endpoint.vhost, tls=endpoint.tls
    )


def parsed(data: dict[str, str], vhost: str | None) -> Endpoint | None:
    try:
        return parse_secret(SECRET, encoded(data), vhost)
    except BrokerFault as fault:
        assert fault.reason is Reason.SECRET_INVALID  # noqa: PT017  most are refused, not all
        return None


def encoded(data: dict[str, str]) -> dict[str, bytes]:
    return {key: text.encode() for key, text in data.items()}


def binding(directory: Path, data: dict[str, str], vhost: str | None = None) -> BindingDirectory:
    for key, text in data.items():
        (directory / key).write_bytes(text.encode())
    return BindingDirectory(directory, vhost)
