"""`send-test`: one push to one user; to Batch itself only when a person says so twice."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchpush.cli import main as cli
from batchpush.environment import process_settings
from emulators import batch, secret_manager
from emulators.secret_manager import SecretManager

APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY"}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[batch.Batch]:
    """Batch, and the secret, on this machine, and nobody's credentials."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-batchpush")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere")
    with (
        batch.running(apps=APPS, rest_keys=["the-key"]) as standing,
        secret_manager.running() as of_secrets,
    ):
        _keep(of_secrets)
        monkeypatch.setenv("BATCH_APPS", ",".join(f"{app}={key}" for app, key in APPS.items()))
        monkeypatch.setenv("BATCH_API_URL", standing.url)
        monkeypatch.setenv("SECRET_MANAGER_URL", of_secrets.url)
        process_settings.cache_clear()
        yield standing
    process_settings.cache_clear()


def _keep(of_secrets: SecretManager) -> None:
    of_secrets.add_version("demo-batchpush", "batch-rest-api-key", "the-key")


def test_it_goes_through_every_app(
    stand_in: batch.Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["send-test", "--to", "bob"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ios         accepted  HTTP 201",
        "android     accepted  HTTP 201",
    ]
    received = stand_in.calls()
    assert {call["app"] for call in received} == {"ios", "android"}
    assert all(call["body"]["recipients"] == {"custom_ids": ["bob"]} for call in received)


def test_as_json_it_is_one_object_for_each_app(
    stand_in: batch.Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["send-test", "--to", "bob", "--json"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"app": app, "outcome": "accepted", "status": 201, "problem": None} for app in APPS
    ]


def test_what_batch_says_is_shown_and_the_key_is_not(
    stand_in: batch.Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.accept_rest_keys("another-key")
    assert cli.main(["send-test", "--to", "bob"]) == 1
    out = capsys.readouterr().out
    assert "not sent" in out
    assert "AUTHENTICATION_INVALID" in out
    assert "the-key" not in out


class Terminal(io.StringIO):
    """Somebody who types this."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("typed", [io.StringIO("bob\n"), Terminal("\n"), Terminal("Bob\n")])
def test_batch_itself_is_not_called_unless_a_person_types_the_id_again(
    stand_in: batch.Batch,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: io.StringIO,
) -> None:
    monkeypatch.delenv("BATCH_API_URL")
    process_settings.cache_clear()
    monkeypatch.setattr("sys.stdin", typed)
    assert cli.main(["send-test", "--to", "bob"]) == 2
    assert "nothing was sent" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--to", "bob"], ["--to", "bob", "--really"]])
def test_a_person_who_asks_twice_gets_it(
    stand_in: batch.Batch, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr("batchpush.cli.send_test.is_loopback", lambda url: False)
    monkeypatch.setattr("sys.stdin", Terminal("bob\n"))
    assert cli.main(["send-test", *arguments]) == 0
    assert len(stand_in.calls()) == len(APPS)


def test_without_the_key_nothing_is_sent(
    stand_in: batch.Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATCH_REST_KEY_SECRET", "another-secret")
    process_settings.cache_clear()
    assert cli.main(["send-test", "--to", "bob"]) == 2
    assert "another-secret: NotFound" in capsys.readouterr().err
    assert stand_in.calls() == []


def test_without_google_credentials_it_says_how_to_get_them(
    stand_in: batch.Batch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SECRET_MANAGER_URL")
    process_settings.cache_clear()
    assert cli.main(["send-test", "--to", "bob"]) == 2
    assert "Fix it with: gcloud auth application-default login" in capsys.readouterr().err
    assert stand_in.calls() == []
