"""Where the broker is and how to log in, read anew at each connect so that a rotated Secret needs no restart."""

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

HEARTBEAT_SECONDS = 15
CONNECT_TIMEOUT_SECONDS = 10
PORTS = {"amqp": 5672, "amqps": 5671}
DEFAULT_VHOST = "/"


class BrokerError(Exception):
    """The broker's address or credentials cannot be used as they are. The text holds no secret."""


@dataclass(frozen=True)
class Certificates:
    """PEM files for TLS; each may be absent. Without `ca`, the system's authorities are trusted."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True)
class Broker:
    """An address and a login, as they are at this moment."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    vhost: str = DEFAULT_VHOST
    tls: bool = False
    certificates: Certificates = Certificates()

    @property
    def address(self) -> str:
        """For people: all but the login."""
        return f"{'amqps' if self.tls else 'amqp'}://{self.host}:{self.port} vhost {self.vhost}"

    def connect_arguments(self, connection_name: str) -> dict[str, Any]:
        """Keyword arguments for `aio_pika.connect`.

        Raises:
            BrokerError: a certificate file is not usable.
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
        except OSError as error:  # SSLError is one
            raise BrokerError(f"The broker's certificates cannot be loaded: {error}.") from error
        return context


class BrokerSource(Protocol):
    """Something that knows the broker."""

    def read(self) -> Broker:
        """The broker as it is known now.

        Raises:
            BrokerError: it is not known, or not well.
        """
        ...


@dataclass(frozen=True)
class BrokerUri:
    """An AMQP URI, as on a laptop. `vhost`, when given, beats its path."""

    uri: str = field(repr=False)
    vhost: str | None = None

    def read(self) -> Broker:
        """See `BrokerSource`."""
        return _with_vhost(parse_uri(self.uri, "RABBITMQ_URL"), self.vhost)


@dataclass(frozen=True)
class BindingDirectory:
    """A mounted Secret with a file for each key, in the manner of the Service Binding specification."""

    directory: Path
    vhost: str | None = None

    def read(self) -> Broker:
        """See `BrokerSource`."""
        # The kubelet swaps all files of a Secret at once by moving the link `..data`. Following it first
        # keeps an old user name from being read with a new password.
        files = self.directory / "..data"
        files = files.resolve() if files.exists() else self.directory
        uri = _text(files / "uri")
        broker = self._from_uri(uri, files) if uri else self._from_keys(files)
        certificates = Certificates(
            ca=_present(files / "ca.crt"), certificate=_present(files / "tls.crt"), key=_present(files / "tls.key")
        )
        return _with_vhost(replace(broker, certificates=certificates), self.vhost)

    def _from_uri(self, uri: str, files: Path) -> Broker:
        """The login may stand beside a URI that has none."""
        broker = parse_uri(uri, f"{self.directory}/uri")
        username, password = (_text(files / key) for key in ("username", "password"))
        if urlsplit(uri).username is None and username and password:
            return replace(broker, username=username, password=password)
        return broker

    def _from_keys(self, files: Path) -> Broker:
        given = {key: _text(files / key) for key in ("host", "username", "password")}
        if missing := [key for key, text in given.items() if not text]:
            raise BrokerError(
                f"{self.directory} has no uri and no {', '.join(missing)}. "
                "The Secret needs uri, or host, port, username and password."
            )
        port = _text(files / "port")
        if port and not port.isdecimal():
            raise BrokerError(f"{self.directory}/port is not a number.")
        tls = port == str(PORTS["amqps"]) or (files / "ca.crt").exists()
        return Broker(
            host=given["host"],
            port=int(port or PORTS["amqps" if tls else "amqp"]),
            username=given["username"],
            password=given["password"],
            vhost=_text(files / "vhost") or DEFAULT_VHOST,
            tls=tls,
        )


def parse_uri(uri: str, name: str) -> Broker:
    """Read `amqp[s]://user:password@host[:port][/vhost]`; what follows a `?` is ignored.

    Raises:
        BrokerError: it is no such URI; the text says `name`, never the URI.
    """
    way_out = "Write amqp://USER:PASSWORD@HOST/VHOST, with special characters percent-encoded (/ is %2F, @ is %40)."
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        # The original text may quote the password.
        raise BrokerError(f"{name} is not an AMQP URI. {way_out}") from None
    if parts.scheme not in PORTS or not host:
        raise BrokerError(f"{name} is not an AMQP URI. {way_out}")
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
    """The file without the line end that editors and `echo` leave; empty when there is none."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise BrokerError(f"{path} cannot be read as text.") from None


def _present(path: Path) -> Path | None:
    return path if path.exists() else None
