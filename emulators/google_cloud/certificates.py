"""An ephemeral certificate for Google's hosts, trusted only by clients that are given its CA."""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DOMAIN = "googleapis.com"
OF_FUNCTIONS = (".cloudfunctions.net", ".a.run.app")  # where each has an address
NAMES = (DOMAIN, f"*.{DOMAIN}", *(f"*{name}" for name in OF_FUNCTIONS))
A_DAY = timedelta(days=1)


def make() -> tuple[str, ssl.SSLContext]:
    """The authority's certificate as PEM, and the context of a server for `NAMES`."""
    authority_key, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    authority_name = _name("Local rehearsal, not Google")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName(name) for name in NAMES]
    certificate = (
        _builder(_name(DOMAIN), authority_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # Python reads both from a file only; it is gone before anybody is served.
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "local"
        file.touch(mode=0o600)
        file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
        context.load_cert_chain(file)
    return authority.public_bytes(Encoding.PEM).decode(), context


def self_signed(key: rsa.RSAPrivateKey) -> str:
    """As PEM; for clients that look for the key in it only."""
    name = _name("Local rehearsal, not Google")
    signed = _builder(name, name, key.public_key()).sign(key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM).decode()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - A_DAY)
        .not_valid_after(now + A_DAY)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
