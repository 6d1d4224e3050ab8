"""Where a broker is and who we are there, read from a Secret."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key

AMQP_PORT: Final = 5672
AMQPS_PORT: Final = 5671
ENCODE_HINT: Final = (
    "Percent-encode characters such as @ : / ? # % in user name and password, "
    "or give host, port, username and password instead"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One vhost of one broker, and one user.

    Attributes:
        management: Base URL of the management API, without user and without trailing slash.
        ca: Certificates (PEM) that alone are trusted; empty: those of the system.
        certificate: Our certificate (PEM), empty: none; `key` is its private key.
    """

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    vhost: str
    tls: bool
    management: str
    management_username: str
    management_password: str = field(repr=False)
    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{_bracketed(self.host)}:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """Make the TLS side of all connections to this endpoint; the peer is always verified.

        Raises:
            ssl.SSLError: The certificates cannot be read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca:
            context.load_verify_locations(cadata=self.ca)
        else:
            context.load_default_certs()
        if self.certificate:
            _present(context, f"{self.certificate}\n{self.key}\n")
        return context

    @classmethod
    def parse(cls, secret: Key, data: Mapping[str, bytes], vhost: str | None) -> "Endpoint":
        """Read a Secret: `uri`, or `host`, `port`, `username`, `password`; the optional keys are those of the spec.

        User and password may also stand beside a `uri` that has none. Without a `uri`, port 5671 or `ca.crt` means
        TLS; the default-user Secret of the RabbitMQ cluster operator works as it is.

        Args:
            secret: Whose data it is, for messages.
            data: The Secret's data.
            vhost: Beats the path of the `uri`, or the key `vhost` where there is no `uri`; without any it is `/`.

        Raises:
            BrokerFault: A key is missing or cannot be understood.
        """
        return _Secret(secret, data).endpoint(vhost)


class _Secret:
    """A Secret's data as text, and messages that name it."""

    def __init__(self, name: Key, data: Mapping[str, bytes]) -> None:
        self._name = name
        self._data = data

    def endpoint(self, vhost: str | None) -> Endpoint:
        uri = self._uri("uri", ("amqp", "amqps")) if "uri" in self._data else None
        host, port, tls = self._peer(uri)
        username, password = self._credentials(uri)
        management, own_username, own_password = self._management(host, tls=tls)
        endpoint = Endpoint(
            host=host,
            port=port,
            username=username,
            password=password,
            vhost=vhost or (self._decoded("uri", uri.path[1:]) if uri else self._text("vhost")) or "/",
            tls=tls,
            management=management,
            management_username=own_username or username,
            management_password=own_password if own_username else password,
            ca=self._text("ca.crt"),
            certificate=self._text("tls.crt"),
            key=self._text("tls.key"),
        )
        self._check_certificates(endpoint)
        return endpoint

    def _peer(self, uri: SplitResult | None) -> tuple[str, int, bool]:
        if uri is not None:
            tls = uri.scheme == "amqps"
            return uri.hostname or "", uri.port or (AMQPS_PORT if tls else AMQP_PORT), tls
        # The workers read the same Secret by the same rule: docs/worker-contract.md.
        trusts = bool(self._text("ca.crt"))
        host, port = self._text("host"), self._text("port") or str(AMQPS_PORT if trusts else AMQP_PORT)
        if not host:
            raise self._invalid('has neither the key uri nor the key host. Set uri to "amqp://USER:PASS@HOST/"')
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise self._invalid("has a key port that is not a port number. Set it to a number such as 5672")
        return host.strip("[]"), int(port), trusts or int(port) == AMQPS_PORT

    def _credentials(self, uri: SplitResult | None) -> tuple[str, str]:
        if uri is not None and uri.username is not None:
            return self._decoded("uri", uri.username), self._decoded("uri", uri.password or "")
        for key in ("username", "password"):
            if not self._text(key):
                where = f"a uri without user, and no key {key}" if uri else f"no key {key}"
                raise self._invalid(f'has {where}. Set uri to "amqp://USER:PASS@HOST/", or add the key {key}')
        return self._text("username"), self._text("password")

    def _management(self, host: str, *, tls: bool) -> tuple[str, str, str]:
        if not self._text("management-uri"):
            return f"https://{_bracketed(host)}:15671" if tls else f"http://{_bracketed(host)}:15672", "", ""
        uri = self._uri("management-uri", ("http", "https"))
        default = 15671 if uri.scheme == "https" else 15672
        base = f"{uri.scheme}://{_bracketed(uri.hostname or '')}:{uri.port or default}{uri.path.rstrip('/')}"
        username, password = (self._decoded("management-uri", part or "") for part in (uri.username, uri.password))
        return base, username, password

    def _uri(self, key: str, schemes: tuple[str, str]) -> SplitResult:
        # The parser's own complaints quote what they could not parse, which may be part of a password.
        try:
            uri = urlsplit(self._text(key))
            understood = uri.scheme in schemes and bool(uri.hostname) and uri.port != 0
        except ValueError:
            understood = False
        if not understood or "@" in uri.path + uri.query + uri.fragment:
            raise self._invalid(
                f"has a key {key} that is not of the form {schemes[0]}://USER:PASS@HOST:PORT/. {ENCODE_HINT}"
            )
        return uri

    def _decoded(self, key: str, part: str) -> str:
        try:
            return unquote(part, errors="strict")
        except UnicodeDecodeError:
            raise self._invalid(f"has a key {key} whose percent-encoding is not UTF-8. {ENCODE_HINT}") from None

    def _text(self, key: str) -> str:
        """Read one key; a line break at its end is what `echo` adds and nobody means."""
        try:
            return self._data.get(key, b"").decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise self._invalid(f"has a key {key} that is not UTF-8 text. Set it anew") from None

    def _check_certificates(self, endpoint: Endpoint) -> None:
        if bool(endpoint.certificate) != bool(endpoint.key):
            raise self._invalid("has only one of the keys tls.crt and tls.key. Add the other, or remove both")
        if not endpoint.ca and not endpoint.certificate:
            return
        try:
            endpoint.trust()
        except (ssl.SSLError, ValueError):
            keys = " or ".join(key for key in ("ca.crt", "tls.crt", "tls.key") if key in self._data)
            raise self._invalid(f"has a key {keys} that is not PEM, or does not fit the other. Set it anew") from None

    def _invalid(self, trouble: str) -> BrokerFault:
        return BrokerFault(Reason.SECRET_INVALID, f"Secret {self._name} {trouble}.", terminal=True)


def _present(context: ssl.SSLContext, pem: str) -> None:
    """Load our certificate; OpenSSL takes it from a file only, so the file is one in memory."""
    with os.fdopen(os.memfd_create("certificate"), "w") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
