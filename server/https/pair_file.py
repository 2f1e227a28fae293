"""The file of a private key and its certificate: PEM, read whole or not at all."""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from server.ground import one_line
from server.https.authority import Pair, names_of

LARGEST = 64 * 1024
_SHA256 = ec.ECDSA(hashes.SHA256())


def load(pem: bytes) -> Pair:
    """A key and a certificate that belong together.

    Raises:
        ValueError: they cannot be read, or do not; one clause.
    """
    if len(pem) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST // 1024} kB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is merely odd is damage too: we do not write such things
            key, certificate = load_open_key(pem), x509.load_pem_x509_certificate(pem)
            public = certificate.public_key()
            # A certificate is parsed as far as it is asked: whatever will be asked of it later is asked now.
            _ = certificate.subject, certificate.issuer, certificate.serial_number, certificate.extensions
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, names_of(certificate)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(public, ec.EllipticCurvePublicKey):
            raise ValueError("not an elliptic-curve key")
        public.verify(key.sign(b"", _SHA256), b"", _SHA256)
    except InvalidSignature:
        raise ValueError("key and certificate do not belong together") from None
    except Exception as error:  # what a parser meets in bytes that nobody wrote has many names
        raise ValueError(one_line(error)) from error
    return Pair(key, certificate)


def dump(pair: Pair) -> bytes:
    """The file's content. Key and certificate share it because two files cannot be replaced in one step."""
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key + pair.certificate.public_bytes(serialization.Encoding.PEM)


def load_open_key(pem: bytes) -> PrivateKeyTypes:
    """A private key.

    Raises:
        ValueError: it cannot be read, or has a password.
        UnsupportedAlgorithm: it is of a kind that is not known here.
    """
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError:  # how cryptography says that it wants a password
        raise ValueError("it has a password; remove it with: openssl pkey -in KEY -out OPEN_KEY") from None
