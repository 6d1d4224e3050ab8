"""TLS contexts: one for each set of certificates, shared by all connections that use it."""

import os
import ssl
from functools import lru_cache
from typing import Final

from taskqueue_operator.resource.bounds import TLS_CONTEXTS

CIPHERS: Final = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
"""Those of Python without Diffie-Hellman in a group of the server's choice: with one of 10,000 bits, each handshake
would hold the event loop for a second. Not for TLS 1.3, whose groups have names."""


@lru_cache(maxsize=TLS_CONTEXTS)
def context(ca: str, certificate: str, key: str, protocol: str) -> ssl.SSLContext:  # noqa: ARG001  part of the key
    """Return the TLS context of a client; it always verifies the server.

    To load the system's certificates takes 30 ms and 1 MiB, so that a context is never built for one connection.

    Args:
        ca: Trusted certificates (PEM); if empty, the system's certificates are trusted.
        certificate: Client certificate (PEM); empty if none is used.
        key: Private key (PEM) of the client certificate.
        protocol: What is spoken over it. The HTTP library writes its protocol into the context, so it has its own.

    Raises:
        ssl.SSLError, ValueError: A certificate or the key is invalid.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_ciphers(CIPHERS)
    if ca:
        made.load_verify_locations(cadata=ca)
    else:
        made.load_default_certs()
    if certificate:
        _load_certificate(made, f"{certificate}\n{key}\n")
    return made


@lru_cache(maxsize=1)
def unused_context() -> ssl.SSLContext:
    """Return a context without certificates, for a client that never uses TLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _load_certificate(made: ssl.SSLContext, pem: str) -> None:
    """Load the client certificate. OpenSSL reads it from a file only, so this is a file in memory."""
    with os.fdopen(os.memfd_create("certificate"), "w") as file:
        file.write(pem)
        file.flush()
        made.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")
