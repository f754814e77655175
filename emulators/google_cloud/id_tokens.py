"""ID tokens of service accounts, as Google signs them for Eventarc, Cloud Tasks and Scheduler.

https://cloud.google.com/run/docs/authenticating/service-to-service: the audience is the address of
the service, and the front end of Cloud Run checks token and role before the container is called.
"""

import time
from collections.abc import Collection

from emulators.google_cloud.signing import InvalidToken, Key

__all__ = ["IdTokens", "InvalidToken"]

ISSUER = "https://accounts.google.com"
SECONDS = 3600


class IdTokens:
    def __init__(self) -> None:
        self._key = Key()

    def issue(self, account: str, audience: str) -> str:
        now = int(time.time())
        return self._key.sign(
            {
                "iss": ISSUER,
                "aud": audience,
                "azp": account,
                "sub": account,
                "email": account,
                "email_verified": True,
                "iat": now,
                "exp": now + SECONDS,
            }
        )

    def account_of(self, token: str, audiences: Collection[str]) -> str:
        """Raises InvalidToken."""
        return str(self._key.claims_of(token, audiences)["email"])
