"""Google credentials that fetch what tokens a test has them fetch."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import google.auth
import google.auth.credentials
import pytest

STALE = timedelta(minutes=3)  # google-auth refreshes from 3:45 before the end on


class Tokens(google.auth.credentials.Credentials):
    """They fetch a token for an hour each time, or do what `fetch` does."""

    service_account_email = "default"

    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0
        self.fetch: Callable[[], object] = lambda: None

    def refresh(self, request: object) -> None:
        self.fetched += 1
        self.fetch()
        self.token = f"token-{self.fetched}"
        self.service_account_email = "run@p.iam.gserviceaccount.com"
        self.ends_in(timedelta(hours=1))

    def ends_in(self, time: timedelta) -> None:
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + time

    def fails(self, error: Exception) -> None:
        def fail() -> None:
            raise error

        self.fetch = fail


def found_tokens(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    """What google-auth finds from now on."""
    tokens = Tokens()
    monkeypatch.setattr(google.auth, "default", lambda **_: (tokens, "p"))
    return tokens
