"""Address, credentials and certificates of one vhost."""

import os
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .address import bracketed


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

    @property
    def address(self) -> str:
        """Host and port, for messages and logs."""
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def management_address(self) -> str:
        """Scheme, host and port of the management API, for messages: a path may contain what a Secret hides."""
        uri = urlsplit(self.management)
        return f"{uri.scheme}://{uri.netloc}"

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


def _load_certificate(context: ssl.SSLContext, pem: str) -> None:
    """Load the client certificate. OpenSSL reads it from a file only, so this is a file in memory."""
    with os.fdopen(os.memfd_create("certificate"), "w") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
