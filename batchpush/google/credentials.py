"""Who we are to Google: a token that is used until it really ends.

google-auth calls a token stale some minutes before it expires, so that there is time to fetch
another. That happens beside the requests: trouble with it, or slowness, is theirs only once the
token at hand has expired.

    fetched                       stale              expired
       ├────────────────────────────┼───────────────────┼─────────────
            the token at hand         the same, while     a new one is
                                      one is fetched      waited for
"""

import asyncio
import functools
import time
from typing import Any

from batchpush.logs import log

TIMEOUT = 10.0  # seconds for one request for a token; google-auth would wait for two minutes
RETRY_AFTER = 10.0  # seconds from a failure until a token that is stale is refreshed again


class CredentialsUnavailable(Exception):
    """There is no valid token; the message names the error of google-auth, and no more."""


class NoCredentials(CredentialsUnavailable):
    """There is nothing to get a token with, until an operator has fixed it."""


class Credentials:
    """Application default credentials for some scopes; used on one event loop."""

    def __init__(self, *scopes: str) -> None:
        """Nothing is looked for before the first use."""
        self._scopes = scopes
        self.refreshing: asyncio.Task[CredentialsUnavailable | None] | None = None
        self._not_before = 0.0
        self._has_warned = False

    async def headers(self) -> dict[str, str]:
        """The headers of a request, with a valid token. Raises `CredentialsUnavailable`."""
        if self._state != "FRESH":
            await self._refresh_in_time()
        headers: dict[str, str] = {}
        self._found[0].apply(headers)
        return headers

    @property
    def project(self) -> str | None:
        """The project that the credentials name; it is looked for on the spot."""
        project: str | None = self._found[1]
        return project

    @property
    def account(self) -> str | None:
        """The service account's address, once it is known."""
        known = self.__dict__.get("_found")
        address = getattr(known[0], "service_account_email", None) if known else None
        return address if address and "@" in address else None  # `default` until the first token

    @functools.cached_property
    def _found(self) -> tuple[Any, str | None]:
        import google.auth

        try:
            found: tuple[Any, str | None] = google.auth.default(scopes=self._scopes)
        except Exception as error:  # noqa: BLE001 - an unreadable key file raises what it likes
            raise NoCredentials(type(error).__name__) from None
        return found

    @property
    def _state(self) -> str:
        """FRESH, STALE or INVALID."""
        name: str = self._found[0].token_state.name if "_found" in self.__dict__ else "INVALID"
        return name

    async def _refresh_in_time(self) -> None:
        """Have another token fetched, and wait for it where the one at hand is of no use."""
        is_valid = self._state != "INVALID"
        if is_valid and time.monotonic() < self._not_before:
            return
        if self.refreshing is None or self.refreshing.done():
            self.refreshing = asyncio.create_task(self._refreshed())
        if is_valid:
            return
        # Whoever gives up waiting does not take it away from the others.
        if error := await asyncio.shield(self.refreshing):
            raise type(error)(str(error))

    async def _refreshed(self) -> CredentialsUnavailable | None:
        """What went wrong, if anything did."""
        try:
            await asyncio.to_thread(self._refresh)
        except CredentialsUnavailable as error:
            self._not_before = time.monotonic() + RETRY_AFTER
            if self._state != "INVALID" and not self._has_warned:
                log("WARNING", "credentials.kept", error=error)
                self._has_warned = True
            return error
        self._has_warned = False
        return None

    def _refresh(self) -> None:
        from google.auth.transport.requests import Request

        credentials, _ = self._found
        try:
            credentials.refresh(functools.partial(Request(), timeout=TIMEOUT))
        except Exception as error:  # noqa: BLE001 - not all kinds raise google-auth's errors only
            raise CredentialsUnavailable(type(error).__name__) from None
