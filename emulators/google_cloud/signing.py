"""Keys that are made up for one run, and the tokens that they sign (RFC 7519)."""

from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

KEY_ID = "local"


class InvalidToken(Exception):
    """The key did not sign it, or not for this audience, or too long ago."""


class Key:
    def __init__(self) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def pem(self) -> str:
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def sign(self, claims: Mapping[str, Any]) -> str:
        token: bytes = jwt.encode(self._signer, dict(claims))
        return token.decode()

    def claims_of(self, token: str, audiences: Collection[str]) -> dict[str, Any]:
        """What the token says, if the key signed it for one of these and it has not expired."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, certs={KEY_ID: self._public}, audience=list(audiences)
            )
        except ValueError as error:
            raise InvalidToken(str(error)) from None
        return claims

    @cached_property
    def _signer(self) -> Any:
        return crypt.RSASigner.from_string(self.pem, KEY_ID)

    @cached_property
    def _public(self) -> bytes:
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
