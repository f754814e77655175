"""Who we are to Google, while a token is good, grows stale, and has expired."""

import asyncio
import json
import threading
from datetime import timedelta
from typing import Any

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from batchpush.google import credentials
from batchpush.google.credentials import Credentials, CredentialsUnavailable, NoCredentials
from tests.tokens import STALE, Tokens, found_tokens


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    return found_tokens(monkeypatch)


def holder() -> Credentials:
    return Credentials("https://www.googleapis.com/auth/datastore")


async def bearer(holder: Credentials) -> str:
    return (await holder.headers())["authorization"]


async def settled(holder: Credentials) -> None:
    """Once a refresh that nobody waits for has ended."""
    assert holder.refreshing is not None
    await holder.refreshing


async def test_one_token_serves_all_requests_until_it_ends(tokens: Tokens) -> None:
    held = holder()
    assert set(await asyncio.gather(*(bearer(held) for _ in range(50)))) == {"Bearer token-1"}
    tokens.ends_in(timedelta())
    assert set(await asyncio.gather(*(bearer(held) for _ in range(50)))) == {"Bearer token-2"}
    assert tokens.fetched == 2


FAILURES = [RefreshError("no"), TransportError("no"), OSError("no"), KeyError("no")]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_a_token_is_used_until_it_expires_where_no_other_can_be_fetched(
    tokens: Tokens, capsys: pytest.CaptureFixture[str], failure: Exception
) -> None:
    held = holder()
    await bearer(held)
    tokens.ends_in(STALE)
    tokens.fails(failure)
    for _ in range(3):
        assert await bearer(held) == "Bearer token-1"
        await settled(held)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["severity"], line["message"]) == ("WARNING", "credentials.kept")
    assert line["data"]["error"] == type(failure).__name__
    assert tokens.fetched == 2  # not with every request
    tokens.ends_in(-timedelta(seconds=1))
    with pytest.raises(CredentialsUnavailable, match=f"^{type(failure).__name__}$"):
        await bearer(held)
    tokens.fetch = lambda: None
    assert await bearer(held) == "Bearer token-4"


async def test_a_stale_token_is_replaced_without_a_request_that_waits(tokens: Tokens) -> None:
    held, may_end = holder(), threading.Event()
    await bearer(held)
    tokens.ends_in(STALE)
    tokens.fetch = lambda: may_end.wait() and None
    assert [await bearer(held) for _ in range(3)] == ["Bearer token-1"] * 3
    may_end.set()
    await settled(held)
    assert await bearer(held) == "Bearer token-2"
    assert tokens.fetched == 2


async def test_trouble_that_has_ended_is_warned_of_again_when_it_returns(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(credentials, "RETRY_AFTER", 0)
    held = holder()
    await bearer(held)
    for failing in (True, True, False, True):
        tokens.ends_in(STALE)
        tokens.fetch = lambda: None
        if failing:
            tokens.fails(RefreshError("no"))
        await bearer(held)
        await settled(held)
    assert len(capsys.readouterr().out.splitlines()) == 2


async def test_who_gives_up_waiting_does_not_take_the_token_away_from_others(
    tokens: Tokens,
) -> None:
    held, may_end = holder(), threading.Event()
    tokens.fetch = lambda: may_end.wait() and None
    impatient, patient = (asyncio.create_task(bearer(held)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    may_end.set()
    assert await patient == "Bearer token-1"


async def test_where_there_are_no_credentials_they_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, tokens: Tokens
) -> None:
    held, found = holder(), google.auth.default

    def none(**_: Any) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(google.auth, "default", none)
    for _ in range(2):
        with pytest.raises(NoCredentials, match=r"^DefaultCredentialsError$"):
            await bearer(held)
        with pytest.raises(NoCredentials):
            _ = held.project
    monkeypatch.setattr(google.auth, "default", found)
    assert await bearer(held) == "Bearer token-1"
    assert held.project == "p"


async def test_the_account_is_known_with_its_first_token(tokens: Tokens) -> None:
    held = holder()
    assert held.account is None
    assert held.project == "p"
    assert held.account is None  # the metadata server has called it `default` so far
    await bearer(held)
    assert held.account == "run@p.iam.gserviceaccount.com"
