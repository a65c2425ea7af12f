"""The estate's own certificate authority and the certificates that it signs: P-256 keys, PEM, for servers and clients.

Pure functions: they create keys and return them, and store nothing. The caller decides where the keys are stored.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATED = timedelta(minutes=10)
"""Hosts' clocks may be late, so a certificate is valid from a little before its creation."""

RENEWAL_SHARE = 3
"""A certificate is due for renewal in the last third of its life."""

PASSWORD_LENGTH = 32

_USAGES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A signing key and its certificate, both PEM."""

    key: str = field(repr=False)
    cert: str


def new_authority(name: str, days: int) -> tuple[str, str]:
    """Create an authority that may sign only hosts, no further authorities. Return its key and certificate, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return _key_pem(key), _cert_pem(builder.sign(key, hashes.SHA256()))


def issue(
    authority: Authority,
    subject: str,
    sans: Sequence[str],
    days: int,
    usages: Sequence[str],
    organizations: Sequence[str] = (),
) -> tuple[str, str]:
    """Create a key and a certificate for it. Return (key, certificate), PEM. The certificate never outlives its
    authority.

    `organizations` are groups to a Kubernetes API server. `sans` are host names, or addresses as text. `usages` are
    `server` and `client`; pass an empty list if only the key will be used. Raise ValueError for an
    unknown usage, or if the authority's key does not belong to its certificate.
    """
    if unknown := set(usages) - set(_USAGES):
        raise ValueError(f"unknown usage {', '.join(sorted(unknown))}; known: {', '.join(_USAGES)}")
    signer = serialization.load_pem_private_key(authority.key.encode(), password=None)
    issuer = x509.load_pem_x509_certificate(authority.cert.encode())
    if not isinstance(signer, ec.EllipticCurvePrivateKey) or signer.public_key() != issuer.public_key():
        raise ValueError("the authority's key does not belong to its certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    named = _name(subject, organizations)
    builder = _builder(named, issuer.subject, key.public_key(), days, not_after=issuer.not_valid_after_utc)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage([_USAGES[usage] for usage in usages]), critical=False)
    if sans:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(san) for san in sans]), critical=False
        )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    return _key_pem(key), _cert_pem(builder.sign(signer, hashes.SHA256()))


def valid_for(cert_pem: str, now: datetime | None = None) -> timedelta:
    """Return how long the certificate is still valid at `now` (with time zone; default: now).

    Negative after its end.
    """
    return x509.load_pem_x509_certificate(cert_pem.encode()).not_valid_after_utc - (now or datetime.now(UTC))


def due(cert_pem: str, now: datetime | None = None) -> bool:
    """Return whether the certificate should be renewed now: it is in the last third of its life."""
    cert = x509.load_pem_x509_certificate(cert_pem.encode())
    life = cert.not_valid_after_utc - cert.not_valid_before_utc
    return valid_for(cert_pem, now) < life / RENEWAL_SHARE


def new_password() -> str:
    """Return 32 letters and digits, about 190 bits. No character needs quoting anywhere."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(PASSWORD_LENGTH))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    days: int,
    not_after: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(end, not_after) if not_after else end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(san: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(san))
    except ValueError:
        return x509.DNSName(san)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _cert_pem(cert: x509.Certificate) -> str:
    return cert.public_bytes(serialization.Encoding.PEM).decode()
