"""Address, credentials and certificates of one vhost."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from . import tls
from .address import bracketed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One vhost of one broker, and the user to connect with.

    Attributes:
        management: Base URL of the management API, without user and without trailing slash.
        ca: Trusted certificates (PEM); if empty, the system's certificates are trusted.
        certificate: Client certificate (PEM); empty if none is used.
        key: Private key (PEM) of the client certificate.
        namespace: The namespace whose share of the operator the connections use: that of the Secret, or of the first of
            several equal ones.
        vouched: Whether the platform team names the hosts as brokers. Otherwise no message tells what a peer is that is
            no broker, so that a Secret is no port scanner.
    """

    host: str
    port: int
    username: str = field(repr=False)
    password: str = field(repr=False)
    vhost: str = field(repr=False)
    tls: bool
    management: str = field(repr=False)
    management_username: str = field(repr=False)
    management_password: str = field(repr=False)
    ca: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    namespace: str = field(default="", compare=False)
    vouched: bool = True

    @property
    def address(self) -> str:
        """Host and port, for messages and logs."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def management_address(self) -> str:
        """Scheme, host and port of the management API, for messages: a path may contain what a Secret hides."""
        uri = urlsplit(self.management)
        return f"{uri.scheme}://{uri.netloc}"

    def ssl_context(self, protocol: str = "amqp") -> ssl.SSLContext:
        """Return the TLS context of all connections of one protocol to this endpoint; the server is always verified.

        Raises:
            ssl.SSLError, ValueError: A certificate or the key is invalid.
        """
        return tls.context(self.ca, self.certificate, self.key, protocol)
