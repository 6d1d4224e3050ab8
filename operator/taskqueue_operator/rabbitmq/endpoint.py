"""Address, credentials and certificates of one vhost, parsed from a Secret."""

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
    "Percent-encode characters such as @ : / ? # % in username and password, "
    "or set the keys host, port, username and password instead"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One vhost of one broker, and the user to connect with.

    Attributes:
        management: Base URL of the management API, without user and without trailing slash.
        ca: Trusted certificates (PEM); if empty, the system's certificates are trusted.
        certificate: Client certificate (PEM); empty if none is used.
        key: Private key (PEM) of the client certificate.
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
        """Host and port, for messages and logs."""
        return f"{_bracketed(self.host)}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context of all connections to this endpoint; the server is always verified.

        Raises:
            ssl.SSLError, ValueError: A certificate or the key is invalid.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.ca:
            context.load_verify_locations(cadata=self.ca)
        else:
            context.load_default_certs()
        if self.certificate:
            _load_certificate(context, f"{self.certificate}\n{self.key}\n")
        return context

    @classmethod
    def parse(cls, secret: Key, data: Mapping[str, bytes], vhost: str | None) -> "Endpoint":
        """Parse a Secret with the key `uri`, or with the keys `host`, `port`, `username` and `password`.

        If `uri` contains no user, the keys `username` and `password` are used. Without `uri`, port 5671 or the key
        `ca.crt` enables TLS. The default-user Secret of the RabbitMQ cluster operator works unchanged. The optional
        keys are described in the CRD, at `spec.broker.secretRef`.

        Args:
            secret: Namespace and name of the Secret, for messages.
            data: The Secret's data.
            vhost: Overrides the path of `uri`, or the key `vhost` if there is no `uri`. The default is `/`.

        Raises:
            BrokerFault: A key is missing or invalid.
        """
        return _Secret(secret, data).endpoint(vhost)


class _Secret:
    """Reads the keys of one Secret; its messages name the Secret and the key."""

    def __init__(self, name: Key, data: Mapping[str, bytes]) -> None:
        self._name = name
        self._data = data

    def endpoint(self, vhost: str | None) -> Endpoint:
        uri = self._uri("uri", ("amqp", "amqps")) if "uri" in self._data else None
        host, port, tls = self._address(uri)
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

    def _address(self, uri: SplitResult | None) -> tuple[str, int, bool]:
        if uri is not None:
            tls = uri.scheme == "amqps"
            return uri.hostname or "", uri.port or (AMQPS_PORT if tls else AMQP_PORT), tls
        # Workers parse the same Secret by the same rule: docs/worker-contract.md.
        has_ca = bool(self._text("ca.crt"))
        host, port = self._text("host"), self._text("port") or str(AMQPS_PORT if has_ca else AMQP_PORT)
        if not host:
            raise self._fault('has neither the key uri nor the key host. Set uri to "amqp://USER:PASS@HOST/"')
        if not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise self._invalid("port", "it is not a port number. Set it to a number such as 5672")
        return host.strip("[]"), int(port), has_ca or int(port) == AMQPS_PORT

    def _credentials(self, uri: SplitResult | None) -> tuple[str, str]:
        if uri is not None and uri.username is not None:
            return self._decoded("uri", uri.username), self._decoded("uri", uri.password or "")
        for key in ("username", "password"):
            if not self._text(key):
                missing = f"a uri without username, and no key {key}" if uri else f"no key {key}"
                raise self._fault(f'has {missing}. Set uri to "amqp://USER:PASS@HOST/", or add the key {key}')
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
        # The parser's errors are not shown: they quote text that may be part of a password.
        try:
            uri = urlsplit(self._text(key))
            valid = uri.scheme in schemes and bool(uri.hostname) and uri.port != 0
        except ValueError:
            valid = False
        if not valid or "@" in uri.path + uri.query + uri.fragment:
            raise self._invalid(key, f"it must have the form {schemes[0]}://USER:PASS@HOST:PORT/. {ENCODE_HINT}")
        return uri

    def _decoded(self, key: str, part: str) -> str:
        try:
            return unquote(part, errors="strict")
        except UnicodeDecodeError:
            raise self._invalid(key, f"its percent-encoding is not UTF-8. {ENCODE_HINT}") from None

    def _text(self, key: str) -> str:
        """Return the value of a key without the line break that `echo` adds."""
        try:
            return self._data.get(key, b"").decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise self._invalid(key, "it is not UTF-8 text. Set it again") from None

    def _check_certificates(self, endpoint: Endpoint) -> None:
        if bool(endpoint.certificate) != bool(endpoint.key):
            raise self._fault("has only one of the keys tls.crt and tls.key. Add the other key, or remove both")
        if not endpoint.ca and not endpoint.certificate:
            return
        try:
            endpoint.ssl_context()
        except (ssl.SSLError, ValueError):
            keys = " or ".join(key for key in ("ca.crt", "tls.crt", "tls.key") if key in self._data)
            mismatch = ", or certificate and key do not match" if endpoint.certificate else ""
            raise self._invalid(keys, f"it is not PEM{mismatch}. Set it again") from None

    def _invalid(self, key: str, problem: str) -> BrokerFault:
        return self._fault(f"has an invalid key {key}: {problem}")

    def _fault(self, problem: str) -> BrokerFault:
        return BrokerFault(Reason.SECRET_INVALID, f"Secret {self._name} {problem}.", terminal=True)


def _load_certificate(context: ssl.SSLContext, pem: str) -> None:
    """Load the client certificate. OpenSSL reads it from a file only, so this is a file in memory."""
    with os.fdopen(os.memfd_create("certificate"), "w") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
