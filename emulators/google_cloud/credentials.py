"""Made-up credentials, and the tokens that they are exchanged for."""

import secrets
from email.parser import BytesParser
from email.policy import HTTP
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from emulators.google_cloud.project import Project
from emulators.google_cloud.signing import KEY_ID, InvalidToken, Key
from emulators.google_errors import Refused

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCE = "https://oauth2.googleapis.com/token"
SECONDS = 3600


class InvalidGrant(Exception):
    """The credential is none of ours; OAuth has a shape of its own for errors (RFC 6749, 5.2)."""


class Credentials:
    """Of one deployer: a refresh token, and the key of a service account. Both are made up."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._key = Key()
        self._accounts: dict[str, str] = {}  # by token
        self.refresh_token = f"1//local-{secrets.token_hex(16)}"

    @cached_property
    def service_account(self) -> dict[str, str]:
        """As in a key file."""
        return {
            "type": "service_account",
            "project_id": self._project.id,
            "private_key_id": KEY_ID,
            "private_key": self._key.pem,
            "client_email": self._project.email("deployer"),
            "client_id": "0",
            "token_uri": AUDIENCE,
        }

    def exchange(self, content_type: str, data: bytes) -> dict[str, Any]:
        form = _form(content_type, data)
        match form.get("grant_type"):
            case "refresh_token" if form.get("refresh_token") == self.refresh_token:
                pass
            case grant if grant == JWT_BEARER and self._signed(form.get("assertion", "")):
                pass
            case _:
                raise InvalidGrant
        return self.token_of(self._project.email("deployer"))

    def token_of(self, account: str) -> dict[str, Any]:
        token = f"local-{secrets.token_hex(16)}"
        self._accounts[token] = account
        return {"access_token": token, "expires_in": SECONDS, "token_type": "Bearer"}

    def authenticate(self, header: str) -> str:
        """The account that a token is of."""
        kind, _, token = header.partition(" ")
        if kind.lower() != "bearer" or token not in self._accounts:
            raise Refused(401, "Request had invalid authentication credentials.")
        return self._accounts[token]

    def _signed(self, assertion: str) -> bool:
        """Whether our key signed it, for this purpose and not long ago (RFC 7523)."""
        try:
            claims = self._key.claims_of(assertion, [AUDIENCE])
        except InvalidToken:
            return False
        return bool(claims.get("iss") == self._project.email("deployer"))


def _form(content_type: str, data: bytes) -> dict[str, str]:
    """The CLI sends its form as multipart, Google's libraries URL-encoded."""
    if not content_type.startswith("multipart/form-data"):
        return dict(parse_qsl(data.decode("utf-8", "replace")))
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    parts = BytesParser(policy=HTTP).parsebytes(head + data).iter_parts()
    return {
        str(part.get_param("name", header="content-disposition")): str(part.get_content())
        for part in parts
    }
