"""Address and credentials of the broker. They are read at each connect, so that a rotated Secret needs no restart."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from .address import is_host, is_port, split_port
from .bounds import VHOST_BYTES

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
            "ssl_context": self.ssl_context() if self.tls else None,
            "heartbeat": HEARTBEAT_SECONDS,
            "timeout": CONNECT_TIMEOUT_SECONDS,
            "client_properties": {"connection_name": connection_name},
        }

    def ssl_context(self) -> ssl.SSLContext:
        """Load the certificates.

        Raises:
            BrokerError: A file cannot be loaded.
        """
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
        """Read `uri`; the keys `username`, `password` and `vhost` complete it."""
        name = f"{self.directory}/uri"
        broker, parts = parse_uri(uri, name), urlsplit(uri)
        vhost = _text(files / "vhost")
        if self.vhost is None and vhost and parts.path[1:] and vhost != broker.vhost:
            raise BrokerError(f"{self.directory}/vhost differs from the path of {name}. Remove one of them.")
        return replace(
            broker,
            username=broker.username if parts.username else _text(files / "username") or broker.username,
            password=broker.password if parts.password else _text(files / "password") or broker.password,
            vhost=_checked_vhost(vhost or broker.vhost, f"{self.directory}/vhost"),
        )

    def _from_keys(self, files: Path) -> Broker:
        values = {key: _text(files / key) for key in ("host", "username", "password")}
        if missing := [key for key, text in values.items() if not text]:
            raise BrokerError(
                f"{self.directory} has neither uri nor {', '.join(missing)}. "
                "The Secret needs uri, or host, username and password."
            )
        host, port = self._address(values["host"], _text(files / "port"))
        tls = port == PORTS["amqps"] or bool(_text(files / "ca.crt"))
        return Broker(
            host=host,
            port=port or PORTS["amqps" if tls else "amqp"],
            username=values["username"],
            password=values["password"],
            vhost=_checked_vhost(_text(files / "vhost") or DEFAULT_VHOST, f"{self.directory}/vhost"),
            tls=tls,
        )

    def _address(self, text: str, port: str) -> tuple[str, int]:
        """Read `host`, which may contain the port, and `port`; the port is 0 if there is none."""
        host, port_of_host = split_port(text)
        if not is_host(host) or (port_of_host and not is_port(port_of_host)):
            raise BrokerError(
                f"{self.directory}/host is not a host name or an IP address. Set it to a name such as "
                "rabbitmq.media.svc, or move a URI to the key uri."
            )
        if port and not is_port(port):
            raise BrokerError(f"{self.directory}/port is not a port. Set it to the AMQP port, for example 5672.")
        if port and port_of_host and int(port) != int(port_of_host):
            raise BrokerError(f"{self.directory}/host contains another port than {self.directory}/port. Remove it.")
        return host, int(port or port_of_host or 0)


def broker_source(environment: Mapping[str, str]) -> BrokerSource:
    """Select the source of the broker's address and credentials, which is read at each connect.

    Raises:
        BrokerError: There is neither a binding nor RABBITMQ_URL.
    """
    vhost = environment.get("TASKQUEUE_VHOST") or None
    root = environment.get("SERVICE_BINDING_ROOT")
    if root and (directory := Path(root) / "broker").is_dir():
        return BindingDirectory(directory, vhost)
    if uri := environment.get("RABBITMQ_URL"):
        return BrokerUri(uri, vhost)
    binding = (
        f"{root}/broker (from SERVICE_BINDING_ROOT) is not a directory" if root else "SERVICE_BINDING_ROOT is not set"
    )
    raise BrokerError(
        f"No broker is configured: {binding}, and RABBITMQ_URL is not set. Mount the broker's Secret at "
        "$SERVICE_BINDING_ROOT/broker, or set RABBITMQ_URL=amqp://USER:PASSWORD@HOST/VHOST."
    )


def parse_uri(uri: str, name: str) -> Broker:
    """Parse `amqp[s]://user:password@host[:port][/vhost]`; everything after a `?` is ignored.

    Raises:
        BrokerError: The URI is not valid. The text contains `name`, never the URI.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
        valid = parts.scheme in PORTS and is_host(host) and port != 0 and uri.isprintable()
    except ValueError:
        valid = False
    # An @ behind the host is that of a password whose special characters are not encoded.
    if not valid or "@" in parts.path + parts.query + parts.fragment:
        # The error of the parser may contain the password.
        raise BrokerError(
            f"{name} is not a valid AMQP URI. Write amqp://USER:PASSWORD@HOST/VHOST, with special characters "
            "percent-encoded (/ is %2F, @ is %40)."
        )
    return Broker(
        host=host,
        port=port or PORTS[parts.scheme],
        username=_decoded(parts.username or "guest", name),
        password=_decoded(parts.password or "guest", name),
        vhost=_checked_vhost(_decoded(parts.path[1:], name) or DEFAULT_VHOST, name),
        tls=parts.scheme == "amqps",
    )


def _decoded(text: str, name: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BrokerError(
            f"The percent-encoding of {name} is not UTF-8. Encode the special characters again."
        ) from None


def _checked_vhost(vhost: str, name: str) -> str:
    if len(vhost.encode()) > VHOST_BYTES:
        raise BrokerError(f"The vhost in {name} is longer than {VHOST_BYTES} bytes. Use a shorter vhost.")
    return vhost


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
