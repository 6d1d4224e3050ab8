"""Parses the Secret of a broker. Each value is validated before use; a message names keys and never quotes a value."""

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from taskqueue_operator.resource.bounds import CERTIFICATE_BYTES, SECRET_VALUE_BYTES, VHOST_BYTES
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key

from .address import bracketed, is_encoded_twice, is_host, port_number, split_port
from .endpoint import Endpoint

AMQP_PORT: Final = 5672
AMQPS_PORT: Final = 5671
PORTS: Final = {"amqp": AMQP_PORT, "amqps": AMQPS_PORT, "http": 80, "https": 443}
"""Ports of URIs that contain none."""
CERTIFICATES: Final = frozenset({"ca.crt", "tls.crt"})
PRIVATE_KEY: Final = "PRIVATE KEY-----"
ENCODE_HINT: Final = (
    "Percent-encode characters such as @ : / ? # % in username and password, "
    "or set the keys host, port, username and password instead"
)


def parse_secret(secret: Key, data: Mapping[str, bytes], vhost: str | None) -> Endpoint:
    """Parse a Secret with the key `uri`, or with the keys `host`, `port`, `username` and `password`.

    The keys `username`, `password` and `vhost` complete a `uri` that lacks them. Without `uri`, port 5671 or the key
    `ca.crt` enables TLS. The default-user Secret of the RabbitMQ cluster operator works unchanged. The optional keys
    are described in the CRD, at `spec.broker.secretRef`. Workers parse the same Secret by the same rules:
    docs/worker-contract.md.

    Args:
        secret: Namespace and name of the Secret, for messages.
        data: The Secret's data.
        vhost: Overrides the vhost of the Secret. The default is `/`.

    Raises:
        BrokerFault: A key is missing or invalid.
    """
    return _Secret(f"Secret {secret}", secret.namespace, data).endpoint(vhost)


def parse_keys(source: str, data: Mapping[str, bytes], vhost: str | None) -> Endpoint:
    """Parse keys of a Secret that come from elsewhere; `source` says from where, in messages.

    Raises:
        BrokerFault: A key is missing or invalid.
    """
    return _Secret(source, "", data).endpoint(vhost)


class _Secret:
    """Reads the keys of one Secret; its messages name the Secret and the key."""

    def __init__(self, source: str, namespace: str, data: Mapping[str, bytes]) -> None:
        self._source = source
        self._namespace = namespace
        self._data = data

    def endpoint(self, vhost: str | None) -> Endpoint:
        uri = self._uri("uri", ("amqp", "amqps")) if self._text("uri") else None
        host, port, tls = self._address(uri)
        username, password = self._credentials(uri)
        management, own_username, own_password = self._management(host, tls=tls)
        endpoint = Endpoint(
            host=host,
            port=port,
            username=username,
            password=password,
            vhost=vhost or self._vhost(uri),
            tls=tls,
            management=management,
            management_username=own_username or username,
            management_password=own_password if own_username else password,
            ca=self._text("ca.crt"),
            certificate=self._text("tls.crt"),
            key=self._text("tls.key"),
            namespace=self._namespace,
        )
        self._check_certificates(endpoint)
        return endpoint

    def _address(self, uri: SplitResult | None) -> tuple[str, int, bool]:
        if uri is not None:
            return uri.hostname or "", uri.port or PORTS[uri.scheme], uri.scheme == "amqps"
        host, port_of_host = self._host()
        text = self._text("port")
        port = port_number(text) if text else port_of_host
        if text and port is None:
            raise self._invalid("port", _problem(text, "it is not a port number. Set it to a number such as 5672"))
        if port_of_host not in {None, port}:
            raise self._invalid("host", "it contains another port than the key port. Remove the port from host")
        # A port alone selects no TLS, except that of amqps.
        has_ca = bool(self._text("ca.crt"))
        return host, port or (AMQPS_PORT if has_ca else AMQP_PORT), has_ca or port == AMQPS_PORT

    def _host(self) -> tuple[str, int | None]:
        text = self._text("host")
        if not text:
            raise self._fault('has neither the key uri nor the key host. Set uri to "amqp://USER:PASS@HOST/"')
        if "://" in text:
            raise self._invalid("host", "it is a URI. Move it to the key uri, or set host to the host name alone")
        host, port = split_port(text)
        if not is_host(host) or (port and port_number(port) is None) or is_encoded_twice(text):
            problem = "it is not a host name or an IP address. Set it to a name such as rabbitmq.media.svc"
            raise self._invalid("host", _problem(text, problem))
        return host, port_number(port)

    def _credentials(self, uri: SplitResult | None) -> tuple[str, str]:
        username, password = (
            self._decoded("uri", part) if part else self._text(key)
            for key, part in (("username", uri and uri.username), ("password", uri and uri.password))
        )
        for key, value in (("username", username), ("password", password)):
            if not value:
                missing = f"a uri without {key}, and no key {key}" if uri else f"no key {key}"
                raise self._fault(f'has {missing}. Set uri to "amqp://USER:PASS@HOST/", or add the key {key}')
            if "\0" in value:  # separates username and password in the login
                raise self._invalid(key, "it contains a null character. Set it again")
        return username, password

    def _vhost(self, uri: SplitResult | None) -> str:
        path, key = self._decoded("uri", uri.path[1:]) if uri else "", self._text("vhost")
        if path and key and path != key:
            raise self._invalid("vhost", "it differs from the path of uri. Remove one of them, or make them equal")
        vhost = path or key or "/"
        if len(vhost.encode()) > VHOST_BYTES or not vhost.isprintable():
            problem = f"the vhost is not printable, or longer than {VHOST_BYTES} bytes. Use another vhost"
            raise self._invalid("uri" if path else "vhost", problem)
        return vhost

    def _management(self, host: str, *, tls: bool) -> tuple[str, str, str]:
        if not self._text("management-uri"):
            return f"https://{bracketed(host)}:15671" if tls else f"http://{bracketed(host)}:15672", "", ""
        uri = self._uri("management-uri", ("http", "https"))
        path = quote(uri.path.rstrip("/"), safe="/%")
        base = f"{uri.scheme}://{bracketed(uri.hostname or '')}:{uri.port or PORTS[uri.scheme]}{path}"
        username, password = (self._decoded("management-uri", part or "") for part in (uri.username, uri.password))
        return base, username, password

    def _uri(self, key: str, schemes: tuple[str, str]) -> SplitResult:
        # The parser's errors are not shown: they quote text that may be part of a password.
        text = self._text(key)
        try:
            uri = urlsplit(text)
            valid = uri.scheme in schemes and is_host(uri.hostname or "") and uri.port != 0
        except ValueError:
            valid = False
        # The parser drops control characters silently; a path would end up in a request line.
        if not valid or not text.isprintable() or "@" in uri.path + uri.query + uri.fragment:
            problem = f"it must have the form {schemes[0]}://USER:PASS@HOST:PORT/. {ENCODE_HINT}"
            raise self._invalid(key, _problem(text, problem))
        return uri

    def _decoded(self, key: str, part: str) -> str:
        try:
            return unquote(part, errors="strict")
        except UnicodeDecodeError:
            raise self._invalid(key, f"its percent-encoding is not UTF-8. {ENCODE_HINT}") from None

    def _text(self, key: str) -> str:
        """Return the value of a key without the line break that `echo` adds."""
        value = self._data.get(key, b"")
        longest = CERTIFICATE_BYTES if key in CERTIFICATES else SECRET_VALUE_BYTES
        if len(value) > longest:
            raise self._invalid(key, f"it is longer than {longest} bytes. Set a shorter value")
        try:
            return value.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise self._invalid(key, "it is not UTF-8 text. Set it again") from None

    def _check_certificates(self, endpoint: Endpoint) -> None:
        if bool(endpoint.certificate) != bool(endpoint.key):
            raise self._fault("has only one of the keys tls.crt and tls.key. Add the other key, or remove both")
        if not endpoint.ca and not endpoint.certificate:
            return
        if PRIVATE_KEY in endpoint.certificate:  # it would be used instead of tls.key, whatever its length
            raise self._invalid("tls.crt", "it contains a private key. Move that to the key tls.key")
        try:
            endpoint.ssl_context()
        except (ssl.SSLError, ValueError):
            keys = " or ".join(key for key in ("ca.crt", "tls.crt", "tls.key") if key in self._data)
            mismatch = ", or certificate and key do not match" if endpoint.certificate else ""
            raise self._invalid(keys, f"it is not PEM{mismatch}. Set it again") from None

    def _invalid(self, key: str, problem: str) -> BrokerFault:
        return self._fault(f"has an invalid key {key}: {problem}")

    def _fault(self, problem: str) -> BrokerFault:
        return BrokerFault(Reason.SECRET_INVALID, f"{self._source} {problem}.", terminal=True)


def _problem(text: str, otherwise: str) -> str:
    if is_encoded_twice(text):
        return "it is base64-encoded twice. Encode it once, or write the plain text under stringData"
    return otherwise
