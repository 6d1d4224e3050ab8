"""Address and credentials of the broker. They are read at each connect, so that a rotated Secret needs no restart."""

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

HEARTBEAT_SECONDS: Final = 15
CONNECT_TIMEOUT_SECONDS: Final = 10
PORTS: Final = {"amqp": 5672, "amqps": 5671}
DEFAULT_VHOST: Final = "/"


class BrokerError(Exception):
    """The broker's address or credentials cannot be used. The text holds no secret."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files for TLS, all optional. Without `ca`, the system's certificate authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class Broker:
    """Address and credentials of a broker."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    vhost: str = DEFAULT_VHOST
    tls: bool = False
    certificates: Certificates = Certificates()

    @property
    def address(self) -> str:
        """The address for messages, without credentials."""
        return f"{'amqps' if self.tls else 'amqp'}://{self.host}:{self.port} vhost {self.vhost}"

    def connect_arguments(self, connection_name: str) -> dict[str, Any]:
        """Return keyword arguments for `aio_pika.connect`.

        Raises:
            BrokerError: A certificate file cannot be loaded.
        """
        return {
            "host": self.host,
            "port": self.port,
            "login": self.username,
            "password": self.password,
            "virtualhost": self.vhost,
            "ssl": self.tls,
            "ssl_context": self._ssl_context() if self.tls else None,
            "heartbeat": HEARTBEAT_SECONDS,
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "client_properties": {"connection_name": connection_name},
        }

    def _ssl_context(self) -> ssl.SSLContext:
        files = self.certificates
        try:
            context = ssl.create_default_context(cafile=files.ca)
            if files.certificate is not None:
                context.load_cert_chain(files.certificate, files.key)
        except OSError as error:  # includes SSLError
            raise BrokerError(
                f"The broker's certificates cannot be loaded: {error}. Check ca.crt, tls.crt and tls.key of the Secret."
            ) from error
        return context


class BrokerSource(Protocol):
    """A source of the broker's address and credentials."""

    def read(self) -> Broker:
        """Read the current address and credentials.

        Raises:
            BrokerError: They are missing or not valid.
        """
        ...


@dataclass(frozen=True, slots=True)
class BrokerUri:
    """An AMQP URI. `vhost`, if given, overrides its path."""

    uri: str = field(repr=False)
    vhost: str | None = None

    def read(self) -> Broker:
        """See `BrokerSource`."""
        return _with_vhost(parse_uri(self.uri, "RABBITMQ_URL"), self.vhost)


@dataclass(frozen=True, slots=True)
class BindingDirectory:
    """A mounted Secret with one file per key, as in the Service Binding specification."""

    directory: Path
    vhost: str | None = None

    def read(self) -> Broker:
        """See `BrokerSource`."""
        # The kubelet replaces all files of a Secret at once by moving the link `..data`. Resolving the link first
        # prevents a mix of an old user name and a new password.
        files = self.directory / "..data"
        files = files.resolve() if files.exists() else self.directory
        uri = _text(files / "uri")
        broker = self._from_uri(uri, files) if uri else self._from_keys(files)
        certificates = Certificates(
            ca=_if_exists(files / "ca.crt"),
            certificate=_if_exists(files / "tls.crt"),
            key=_if_exists(files / "tls.key"),
        )
        return _with_vhost(replace(broker, certificates=certificates), self.vhost)

    def _from_uri(self, uri: str, files: Path) -> Broker:
        """Read `uri`; `username` and `password` complete a URI without credentials."""
        broker = parse_uri(uri, f"{self.directory}/uri")
        username, password = (_text(files / key) for key in ("username", "password"))
        if urlsplit(uri).username is None and username and password:
            return replace(broker, username=username, password=password)
        return broker

    def _from_keys(self, files: Path) -> Broker:
        values = {key: _text(files / key) for key in ("host", "username", "password")}
        if missing := [key for key, text in values.items() if not text]:
            raise BrokerError(
                f"{self.directory} has neither uri nor {', '.join(missing)}. "
                "The Secret needs uri, or host, username and password."
            )
        port = _text(files / "port")
        if port and not port.isdecimal():
            raise BrokerError(f"{self.directory}/port is not a number. Set it to the AMQP port, for example 5672.")
        tls = port == str(PORTS["amqps"]) or (files / "ca.crt").exists()
        return Broker(
            host=values["host"],
            port=int(port or PORTS["amqps" if tls else "amqp"]),
            username=values["username"],
            password=values["password"],
            vhost=_text(files / "vhost") or DEFAULT_VHOST,
            tls=tls,
        )


def parse_uri(uri: str, name: str) -> Broker:
    """Parse `amqp[s]://user:password@host[:port][/vhost]`; everything after a `?` is ignored.

    Raises:
        BrokerError: The URI is not valid. The text contains `name`, never the URI.
    """
    way_out = "Write amqp://USER:PASSWORD@HOST/VHOST, with special characters percent-encoded (/ is %2F, @ is %40)."
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        # The original text may contain the password.
        raise BrokerError(f"{name} is not a valid AMQP URI. {way_out}") from None
    if parts.scheme not in PORTS or not host:
        raise BrokerError(f"{name} is not a valid AMQP URI. {way_out}")
    return Broker(
        host=host,
        port=port or PORTS[parts.scheme],
        username=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or DEFAULT_VHOST,
        tls=parts.scheme == "amqps",
    )


def _with_vhost(broker: Broker, vhost: str | None) -> Broker:
    return broker if vhost is None else replace(broker, vhost=vhost)


def _text(path: Path) -> str:
    """Read a file without the line break at its end; empty if there is no file."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise BrokerError(f"{path} cannot be read as UTF-8 text.") from None


def _if_exists(path: Path) -> Path | None:
    return path if path.exists() else None
