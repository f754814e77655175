"""A token that is valid is used, whatever becomes of the next one."""

import asyncio
import itertools
import threading
from datetime import timedelta
from typing import Any

import pytest
from google.auth import _helpers
from google.auth.credentials import Credentials as GoogleCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from batchpush.credentials import PAUSE, Credentials


class Account(GoogleCredentials):
    """Google's credentials, which are refreshed as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.refreshes = 0
        self.trouble: Exception | None = None
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def refresh(self, request: Any) -> None:
        self.refreshes += 1
        assert self.may_go_on.wait(10)
        if self.trouble:
            raise self.trouble
        self.token = f"token-{self.refreshes}"
        self.ends_in(minutes=60)

    def ends_in(self, **time: int) -> None:
        self.expiry = _helpers.utcnow() + timedelta(**time)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    account = Account()
    monkeypatch.setattr("google.auth.default", lambda scopes: (account, "project"))
    return account


@pytest.fixture
def made(account: Account) -> Credentials:
    """With a clock on which an hour passes between two looks."""
    return Credentials("scope", clock=itertools.count(step=3600).__next__)


async def in_background() -> None:
    """Wait for what goes on there."""
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks, timeout=10)


async def test_a_token_is_fetched_once_for_all_who_need_it_and_kept(
    account: Account, made: Credentials
) -> None:
    for _ in range(2):
        found = await asyncio.gather(*(made.headers() for _ in range(100)))
        assert found == [{"authorization": "Bearer token-1"}] * 100
    assert account.refreshes == 1
    assert made.project() == "project"


async def test_a_token_that_ends_soon_is_used_while_another_one_is_fetched(
    account: Account, made: Credentials
) -> None:
    await made.headers()
    account.ends_in(minutes=2)
    account.may_go_on.clear()
    assert await made.headers() == {"authorization": "Bearer token-1"}
    assert await made.headers() == {"authorization": "Bearer token-1"}
    account.may_go_on.set()
    await in_background()
    assert await made.headers() == {"authorization": "Bearer token-2"}
    assert account.refreshes == 2


@pytest.mark.parametrize("trouble", [RefreshError("no"), ValueError("no"), OSError("no")])
async def test_a_token_that_cannot_be_renewed_is_used_until_it_ends(
    account: Account, made: Credentials, trouble: Exception
) -> None:
    await made.headers()
    account.ends_in(minutes=2)
    account.trouble = trouble
    for _ in range(3):
        assert await made.headers() == {"authorization": "Bearer token-1"}
        await in_background()
    assert account.refreshes == 4
    account.ends_in(minutes=-1)
    with pytest.raises(RefreshError):
        await made.headers()
    account.trouble = None
    assert await made.headers() == {"authorization": "Bearer token-6"}


async def test_between_two_attempts_to_renew_a_valid_token_there_is_a_pause(
    account: Account,
) -> None:
    now = 0.0
    made = Credentials("scope", clock=lambda: now)
    await made.headers()
    now = PAUSE
    account.ends_in(minutes=2)
    account.trouble = RefreshError("no")
    for _ in range(10):
        await made.headers()
        await in_background()
    assert account.refreshes == 2


async def test_whoever_does_not_wait_any_more_leaves_the_others_their_token(
    account: Account, made: Credentials
) -> None:
    account.may_go_on.clear()
    first, second = (asyncio.create_task(made.headers()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    account.may_go_on.set()
    assert await second == {"authorization": "Bearer token-1"}
    assert first.cancelled()


async def test_credentials_that_are_not_there_now_may_be_there_later(
    account: Account, made: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(scopes: Any) -> Any:
        raise DefaultCredentialsError("none just now")

    with monkeypatch.context() as just_now:
        just_now.setattr("google.auth.default", missing)
        with pytest.raises(DefaultCredentialsError):
            await made.headers()
        with pytest.raises(DefaultCredentialsError):
            made.project()
    assert await made.headers() == {"authorization": "Bearer token-1"}
