"""Credentials for Google: a token that is used until it expires.

google-auth calls a token stale a few minutes before it expires. A stale token is refreshed in the
background, so a slow or failed refresh affects requests only after the token has expired.

    fetched                       stale               expired
       ├────────────────────────────┼───────────────────┼─────────────────
          requests use the token      they still do,       they wait for
                                      during a refresh     the refresh
"""

import asyncio
import functools
import time
from typing import Any

from batchpush.logs import log

TIMEOUT = 10.0  # seconds for one token request; the default of google-auth is two minutes
RETRY_AFTER = 10.0  # seconds after a failure before a stale token is refreshed again


class CredentialsUnavailable(Exception):
    """There is no valid token. The message is only the name of google-auth's error class."""


class NoCredentials(CredentialsUnavailable):
    """No usable credentials were found; an operator must fix that."""


class Credentials:
    """Application default credentials for some scopes. Use them on one event loop."""

    def __init__(self, *scopes: str) -> None:
        """Looks for credentials only on first use."""
        self._scopes = scopes
        self.refreshing: asyncio.Task[CredentialsUnavailable | None] | None = None
        self._not_before = 0.0
        self._has_warned = False

    async def headers(self) -> dict[str, str]:
        """Request headers with a valid token. Raises `CredentialsUnavailable`."""
        if self._state != "FRESH":
            await self._refresh_in_time()
        headers: dict[str, str] = {}
        self._found[0].apply(headers)
        return headers

    @property
    def project(self) -> str | None:
        """The project that the credentials name. May block; raises `NoCredentials`."""
        project: str | None = self._found[1]
        return project

    @property
    def account(self) -> str | None:
        """The service account's email address; None while it is unknown, or for a user."""
        known = self.__dict__.get("_found")
        address = getattr(known[0], "service_account_email", None) if known else None
        return address if address and "@" in address else None  # `default` until the first token

    @functools.cached_property
    def _found(self) -> tuple[Any, str | None]:
        import google.auth

        try:
            found: tuple[Any, str | None] = google.auth.default(scopes=self._scopes)
        except Exception as error:  # noqa: BLE001 - an unreadable key file can raise anything
            raise NoCredentials(type(error).__name__) from None
        return found

    @property
    def _state(self) -> str:
        """FRESH, STALE or INVALID."""
        name: str = self._found[0].token_state.name if "_found" in self.__dict__ else "INVALID"
        return name

    async def _refresh_in_time(self) -> None:
        """Refresh the token; wait for it only if the current one is invalid."""
        is_valid = self._state != "INVALID"
        if is_valid and time.monotonic() < self._not_before:
            return
        if self.refreshing is None or self.refreshing.done():
            self.refreshing = asyncio.create_task(self._refreshed())
        if is_valid:
            return
        # Cancelling one waiter must not cancel the refresh for the others.
        if error := await asyncio.shield(self.refreshing):
            raise type(error)(str(error))

    async def _refreshed(self) -> CredentialsUnavailable | None:
        """Refresh the token; returns the error, if any."""
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
        except Exception as error:  # noqa: BLE001 - some kinds also raise errors of others
            raise CredentialsUnavailable(type(error).__name__) from None
