"""A small certificate authority, in memory: makes itself, and certificates for this machine's names.

It is limited by name constraints: stolen, it can vouch for this machine's own names, ``.local`` and the
like, and private address ranges, but not for a bank. The phone browsers that matter accept them (Apple for
about ten years; Chrome since 112 and Firefox also enforce them on authorities a user installed; a browser
that ignored them would merely lose the limit). They are marked critical, as RFC 5280 asks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=3652)
SERVER_LIFETIME = timedelta(days=397)
"""Phones refuse server certificates that are valid for longer than 398 days."""
RENEW_BEFORE = timedelta(days=30)
_BACKDATED = timedelta(days=1)  # a phone whose clock is behind must not find the certificate "not yet valid"
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
"""This software is not older: a clock that shows less is wrong (a battery that is empty shows 1970)."""
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)

Network = IPv4Network | IPv6Network

_LOCAL_DOMAINS = ("localhost", "local", "lan", "home.arpa", "internal")
_LOCAL_NETWORKS: tuple[Network, ...] = (
    IPv4Network("127.0.0.0/8"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("100.64.0.0/10"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
    IPv6Network("fe80::/10"),
)
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z")


@dataclass(frozen=True)
class Pair:
    """A private key (EC P-256) and the certificate of its public half."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def parse_names(names: Sequence[str]) -> list[x509.GeneralName]:
    """Host names and IP addresses as a certificate holds them; what no browser could ask for is left out."""
    return list(dict.fromkeys(parsed for parsed in map(_general_name, names) if parsed is not None))


def make(names: Sequence[x509.GeneralName], now: datetime) -> Pair:
    """A new authority, valid for ten years; it may vouch for `names`, local domains, private addresses.

    It begins when this software did: made under a clock that is ahead, it is valid already when that is put right.
    """
    now = min(max(now, EARLIEST), _LATEST)
    key = ec.generate_private_key(ec.SECP256R1())
    host = next((name.value for name in names if isinstance(name, x509.DNSName)), "server")
    # The date tells two authorities of one machine apart in a phone's list; a common name holds 64
    # characters.
    subject = _subject(f"DefectVision {host[:30]} {now:%Y-%m-%d}")
    certificate = (
        _builder(subject, subject, key, EARLIEST - _BACKDATED, now - _BACKDATED + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(_permitted(names), None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(key, certificate)


def issue(authority: Pair, names: Sequence[x509.GeneralName], now: datetime) -> Pair:
    """A server certificate for `names`, valid for 397 days but never longer than its authority."""
    ca = authority.certificate
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now - _BACKDATED + SERVER_LIFETIME, ca.not_valid_after_utc)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _builder(_subject("DefectVision server"), ca.subject, key, now - _BACKDATED, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(key, certificate)


def made_on(ca: x509.Certificate) -> datetime:
    """When an authority was made, by the clock of then."""
    return max(ca.not_valid_after_utc - LIFETIME + _BACKDATED, EARLIEST, ca.not_valid_before_utc)


def issued_on(server: x509.Certificate) -> datetime:
    """When a server certificate was made, by the clock of then."""
    return server.not_valid_before_utc + _BACKDATED


def is_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether `ca` signed this certificate, and it has not changed by a bit since. An authority signs its own."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_due(server: x509.Certificate, ca: x509.Certificate, wanted: Sequence[x509.GeneralName], now: datetime) -> bool:
    """Whether a server certificate has to be made anew: it lacks one of `wanted`, or ends soon, or has not begun."""
    due = server.not_valid_after_utc
    if due < ca.not_valid_after_utc:  # otherwise a new one would end on the same day
        due -= RENEW_BEFORE
    # A name the machine lost does no harm; dropping it would only cause renewals whenever a cable is pulled.
    return not (server.not_valid_before_utc <= now < due and set(wanted) <= set(names_of(server)))


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """The host names and addresses a certificate covers."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def permits(ca: x509.Certificate, name: x509.GeneralName) -> bool:
    """Whether the authority's name constraints let it vouch for `name`."""
    try:
        constraints = ca.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return True
    return _is_inside(name, constraints.permitted_subtrees or [])


def _permitted(names: Sequence[x509.GeneralName]) -> list[x509.GeneralName]:
    subtrees: list[x509.GeneralName] = list(map(x509.DNSName, _LOCAL_DOMAINS))
    subtrees += map(x509.IPAddress, _LOCAL_NETWORKS)
    for name in names:
        if not _is_inside(name, subtrees):
            subtrees.append(_subtree(name))
    return subtrees


def _subtree(name: x509.GeneralName) -> x509.GeneralName:
    if isinstance(name.value, IPv4Address):
        return x509.IPAddress(IPv4Network(name.value))
    if isinstance(name.value, IPv6Address):
        # Hosts change the lower half of a public IPv6 address daily (privacy extensions).
        return x509.IPAddress(ip_network((name.value, 64), strict=False))
    return name


def _is_inside(name: x509.GeneralName, subtrees: Sequence[x509.GeneralName]) -> bool:
    for subtree in (s.value for s in subtrees if type(s) is type(name)):
        if isinstance(subtree, IPv4Network | IPv6Network):
            if isinstance(name.value, IPv4Address | IPv6Address) and name.value in subtree:
                return True
        elif name.value == subtree or str(name.value).endswith(f".{subtree}"):
            return True
    return False


def _general_name(name: str) -> x509.GeneralName | None:
    bare = name.strip().rstrip(".").lower()
    try:
        return x509.IPAddress(ip_address(bare.partition("%")[0]))
    except ValueError:
        return x509.DNSName(bare) if _DNS_NAME.match(bare) else None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "DefectVision"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
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
