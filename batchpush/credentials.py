"""Who we are to Google: the credentials of this process, as headers of a request."""

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Any

REFRESH_TIMEOUT = 10.0  # seconds
PAUSE = 10.0  # seconds between two attempts to renew a token that is still valid


class Credentials:
    """Google's default credentials for some scopes; the token is kept until it ends.

    Some minutes before that, it is renewed in the background. A request never waits for this, nor
    fails because of it, while the token at hand is still valid.
    """

    def __init__(self, *scopes: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._scopes, self._clock = scopes, clock
        self._found: Any = None
        self._project: str | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._may_renew_from = clock()

    async def headers(self) -> dict[str, str]:
        """Raises `GoogleAuthError` where there is no valid token and none can be had."""
        from google.auth.credentials import TokenState

        state = self._found.token_state if self._found else TokenState.INVALID
        if state is TokenState.INVALID:
            await asyncio.shield(self._renewal())
        elif state is TokenState.STALE and self._clock() >= self._may_renew_from:
            self._renewal()
        headers: dict[str, str] = {}
        self._found.apply(headers)
        return headers

    def project(self) -> str | None:
        """The project that the credentials belong to; raises `GoogleAuthError` without any."""
        self._find()
        return self._project

    def _renewal(self) -> asyncio.Task[None]:
        """One for all who need it."""
        if self._renewing is None or self._renewing.done():
            self._may_renew_from = self._clock() + PAUSE
            self._renewing = asyncio.create_task(asyncio.to_thread(self._renew))
            # Where nobody waits for it, its failure is nobody's.
            self._renewing.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._renewing

    def _renew(self) -> None:
        from google.auth.exceptions import GoogleAuthError, RefreshError
        from google.auth.transport.requests import Request

        self._find()
        try:
            self._found.refresh(functools.partial(Request(), timeout=REFRESH_TIMEOUT))
        except GoogleAuthError:
            raise
        except Exception as error:  # some kinds of credentials let others through
            raise RefreshError(type(error).__name__) from None

    def _find(self) -> None:
        import google.auth

        if self._found is None:
            self._found, self._project = google.auth.default(scopes=self._scopes)
