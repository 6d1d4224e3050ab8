"""A certificate authority for one throw-away cluster or broker."""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PEM = serialization.Encoding.PEM


class Authority:
    """Signs certificates and keeps them, with their keys, as `<name>.crt` and `<name>.key` in one directory.

    One made there earlier is taken up again, so that what it signed stays valid.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate_file = directory / "ca.crt"
        directory.mkdir(parents=True, exist_ok=True)
        if self.certificate_file.exists():
            self._key = _load_key(directory / "ca.key")
            self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())
            self._certificate = self._make_own()
            _write_key(directory / "ca.key", self._key)
            self.certificate_file.write_bytes(self._certificate.public_bytes(_PEM))

    def issue(self, name: str, common_name: str, *, groups: Iterable[str] = (), hosts: Iterable[str] = ()) -> Path:
        """A certificate for `common_name` as client, and as server of `hosts`; its file, the key beside it."""
        file = self.directory / f"{name}.crt"
        if file.exists():
            return file
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name, groups), self._certificate.subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
        )
        if names := [_host(host) for host in hosts]:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        _write_key(file.with_suffix(".key"), key)
        file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        return file

    def _make_own(self) -> x509.Certificate:
        subject = _subject("taskqueue test authority", ())
        builder = _builder(subject, subject, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        return builder.sign(self._key, hashes.SHA256())


def key_pair(file: Path) -> Path:
    """An RSA key for service account tokens in `file`, its public half in `<file>.pub`."""
    if not file.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        file.with_suffix(".pub").write_bytes(public)
        _write_key(file, key)
    return file


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=365))
    )


def _subject(common_name: str, groups: Iterable[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    # Python 3.13 refuses an authority without this extension.
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    file.touch(mode=0o600)
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    file.write_bytes(key.private_bytes(_PEM, traditional, serialization.NoEncryption()))


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{file} does not hold an elliptic curve key")
    return key
