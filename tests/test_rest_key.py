import asyncio
import copy
import json
import pickle
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import (
    FRESH_FOR,
    MIN_REFRESH_INTERVAL,
    MISTAKES,
    RestKey,
    RestKeyCache,
    key_in,
    key_reader,
)
from batchpush.environment import Settings
from batchpush.errors import RestKeyUnavailable, TryAgainLater
from batchpush.testing import ManualClock
from batchpush.testing.memory import Memory
from batchpush.timing import Clock
from emulators import secret_manager
from tests.deliveries import change_at, greet, worker_in
from tests.servers import serving

SECRET = "projects/demo-batchpush/secrets/batch-rest-api-key"


class Source:
    """A source of keys under the test's control, with a clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.value: str | None = "first"
        self.reads = 0
        self.cache = RestKeyCache(self.read, clock=lambda: self.now)

    async def read(self) -> RestKey:
        self.reads += 1
        await asyncio.sleep(0)
        if self.value is None:
            raise RestKeyUnavailable("down")
        return RestKey(self.value)


async def test_the_key_is_read_when_first_wanted_and_kept_for_five_minutes() -> None:
    source = Source()
    assert source.reads == 0
    for _ in range(3):
        assert (await source.cache.get()).reveal() == "first"
    source.now += FRESH_FOR - 1
    await source.cache.get()
    assert source.reads == 1
    source.value, source.now = "second", source.now + 1
    assert (await source.cache.get()).reveal() == "second"


async def test_many_calls_at_once_read_it_once() -> None:
    source = Source()
    await asyncio.gather(*(source.cache.get() for _ in range(80)))
    assert source.reads == 1
    source.now += MIN_REFRESH_INTERVAL
    refused, source.value = await source.cache.get(), "second"
    keys = await asyncio.gather(*(source.cache.replaced(refused) for _ in range(80)))
    assert source.reads == 2
    assert {key and key.reveal() for key in keys} == {"second"}


async def test_a_refused_key_without_a_successor_is_not_read_over_and_over() -> None:
    source = Source()
    refused = await source.cache.get()
    assert await source.cache.replaced(refused) is None
    assert source.reads == 1
    source.now += MIN_REFRESH_INTERVAL
    for _ in range(5):
        assert await source.cache.replaced(refused) is None
    assert source.reads == 2


async def test_the_key_at_hand_stays_in_use_while_secret_manager_is_down(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = Source()
    await source.cache.get()
    source.value, source.now = None, source.now + FRESH_FOR
    assert (await source.cache.get()).reveal() == "first"
    assert source.reads == 2
    assert json.loads(capsys.readouterr().out)["message"] == "rest_key.kept"


async def test_without_any_key_it_says_so_and_tries_again_next_time() -> None:
    source = Source()
    source.value = None
    with pytest.raises(RestKeyUnavailable):
        await source.cache.get()
    source.value = "first"
    assert (await source.cache.get()).reveal() == "first"


def test_a_key_does_not_show_itself() -> None:
    key = RestKey("5f2c9d1e0a7b4c3d")
    for shown in (repr(key), str(key), f"{key}", f"{[key]}", f"{vars(Source())}"):
        assert "5f2c" not in shown
    with pytest.raises(TypeError):
        json.dumps(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        copy.copy(key)
    assert not hasattr(key, "__dict__")


# What a secret holds

HEX = "5f2c9d1e0a7b4c3d8e6f5a4b3c2d1e0f"


@pytest.mark.parametrize("key", [HEX, "key-1", "a", "A" * 200, "dGhlIGtleQ==", "a/b+c.d_e~f"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" "])
@pytest.mark.parametrize("after", [b"", b"\n", b"\r\n", b" \r\n\n"])
def test_a_key_may_have_a_byte_order_mark_before_it_and_line_ends_after_it(
    key: str, before: bytes, after: bytes
) -> None:
    assert key_in(before + key.encode() + after) == key


@pytest.mark.parametrize(
    ("payload", "mistake"),
    [
        ("", "is empty"),
        (" \r\n", "is empty"),
        ("\ufeff\n", "is empty"),
        (f'"{HEX}"', "is in quotes"),
        (f"'{HEX}'\n", "is in quotes"),
        (f"`{HEX}`", "is in quotes"),
        (f'"{HEX}', "is in quotes"),
        (f"{HEX}'", "is in quotes"),
        (f"“{HEX}”", "has characters that are not ASCII"),
        (f"BATCH_REST_API_KEY={HEX}", "is a line NAME=VALUE"),
        (f"BATCH_REST_API_KEY = {HEX}\n", "is a line NAME=VALUE"),
        (f'export BATCH_REST_API_KEY="{HEX}"', "is a line NAME=VALUE"),
        (f"key={HEX}", "is a line NAME=VALUE"),
        (f"batch-rest-api-key={HEX}", "is a line NAME=VALUE"),
        (f"BATCH_APPS=ios=A\nBATCH_REST_API_KEY={HEX}\n", "is a line NAME=VALUE"),
        ("BATCH_REST_API_KEY=", "is a line NAME=VALUE, without the value"),
        (f'{{"key": "{HEX}"}}', "is JSON"),
        (f'["{HEX}"]', "is JSON"),
        (f"Bearer {HEX}", "has a word such as Bearer before the key"),
        (f"X-Authorization: {HEX}", "is a line NAME: VALUE, such as a header"),
        (f"X-Authorization:{HEX}", "is a line NAME: VALUE, such as a header"),
        (f"key: {HEX}", "is a line NAME: VALUE, such as a header"),
        (f"{HEX}\n{HEX}", "has several lines"),
        (f"{HEX}\r{HEX}", "has several lines"),
        (f"{HEX[:16]} {HEX[16:]}", "has spaces in it"),
        (f"{HEX}\u00a0", "has characters that are not ASCII"),
        (f"{HEX}\u200b", "has characters that are not ASCII"),
        (f"https://api.batch.com/1.1/{HEX}/transactional/send", "is a URL"),
        (f"projects/p/secrets/{HEX}", "is the name of a secret"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END", "is a certificate or a private key"),
        ("YOUR_REST_KEY", "is a placeholder"),
        ("your-rest-key", "is a placeholder"),
        ("<REST_KEY>", "is a placeholder"),
        ("$BATCH_REST_API_KEY", "is a placeholder"),
        ("****", "is a placeholder"),
        ("changeme", "is a placeholder"),
        ("null", "is a word for no value"),
        ("undefined", "is a word for no value"),
        ("None\n", "is a word for no value"),
        ("nil", "is a word for no value"),
        (f"{HEX},", "has characters that no key has"),
        (f"{HEX}\x7f", "has characters that no key has"),
        (f"{HEX}=x", "has characters that no key has"),
    ],
)
def test_what_is_no_key_is_told_by_its_mistake(payload: str, mistake: str) -> None:
    with pytest.raises(ValueError, match=re.escape(mistake)) as raised:
        key_in(payload.encode())
    assert str(raised.value) == mistake


@pytest.mark.parametrize(
    ("payload", "mistake"),
    [
        (HEX.encode("utf-16"), "is in UTF-16"),
        (HEX.encode("utf-16-le"), "is in UTF-16"),
        (HEX.encode("utf-16-be"), "is in UTF-16"),
        (f"{HEX}\r\n".encode("utf-16"), "is in UTF-16"),
        (b"\xff\xfe", "is in UTF-16"),
        (HEX.encode() + b"\xe9", "has characters that are not ASCII"),
        (b64encode(HEX.encode()), "is in base64"),
        (b64encode(f"{HEX}\n".encode()), "is in base64"),
    ],
)
def test_a_key_in_another_encoding_is_told_by_it(payload: bytes, mistake: str) -> None:
    with pytest.raises(ValueError, match=re.escape(mistake)):
        key_in(payload)


WORDS = {"is in UTF-16", "has characters that are not ASCII", "has characters that no key has"}


@given(st.binary() | st.text().map(str.encode))
def test_whatever_a_secret_holds_is_a_key_of_its_own_bytes_or_a_fixed_sentence(
    payload: bytes,
) -> None:
    try:
        key, said = key_in(payload), ""
    except ValueError as error:
        key, said = "", str(error)
    if said:
        assert said in {*MISTAKES.values(), *WORDS, "is in base64"}
    else:
        assert key.encode() in payload
        assert key.isprintable()


# Through the real client


@pytest.fixture
def manager(
    monkeypatch: pytest.MonkeyPatch, service_account: str
) -> Iterator[secret_manager.SecretManager]:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", service_account)
    with secret_manager.running() as manager:
        yield manager


def reader(
    manager: secret_manager.SecretManager, **settings: str
) -> Callable[[], Awaitable[RestKey]]:
    environment = {"BATCH_APPS": "ios=A", "SECRET_MANAGER_URL": manager.url} | settings
    return key_reader(Settings.from_environment(environment))


@pytest.mark.parametrize("secret", ["batch-rest-api-key", SECRET])
async def test_the_latest_version_of_the_secret_is_the_key(
    manager: secret_manager.SecretManager, secret: str
) -> None:
    read = reader(manager, BATCH_REST_KEY_SECRET=secret)
    manager.add_version("demo-batchpush", "batch-rest-api-key", b"first")
    assert (await read()).reveal() == "first"
    manager.add_version("demo-batchpush", "batch-rest-api-key", b"second\n")
    assert (await read()).reveal() == "second"


@pytest.mark.parametrize("payload", [b"", f'"{HEX}"'.encode(), f"KEY={HEX}".encode()])
async def test_a_secret_that_holds_no_key_is_named_and_not_shown(
    manager: secret_manager.SecretManager, payload: bytes
) -> None:
    manager.add_version("demo-batchpush", "batch-rest-api-key", payload)
    with pytest.raises(RestKeyUnavailable, match=f"{SECRET}: the latest version is ") as raised:
        await reader(manager)()
    assert HEX[:4] not in str(raised.value)


async def test_what_is_wrong_with_a_secret_is_in_the_record_and_in_the_log(
    manager: secret_manager.SecretManager, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.add_version("demo-batchpush", "batch-rest-api-key", f'{{"key": "{HEX}"}}')
    memory, clock = Memory(), ManualClock()
    made = replace(worker_in(memory, clock.now), clock=Clock(clock.now, lambda: 1.0, clock.sleep))
    made.client = BatchClient(made.settings, made.timing, RestKeyCache(reader(manager)))
    change = change_at(clock)
    with pytest.raises(TryAgainLater):
        await made.deliverer.deliver(change, greet)
    entry = await made.ledger.read(change.delivery_id)
    assert entry is not None
    said = f"{SECRET}: the latest version is JSON; it must be the REST key alone"
    assert {call.problem for call in entry.record.calls} == {said}
    logged = capsys.readouterr().out
    assert said in logged
    assert HEX[:4] not in repr(entry.record) + logged


async def test_an_app_key_in_the_place_of_the_rest_key_is_said_to_be_one(
    manager: secret_manager.SecretManager,
) -> None:
    manager.add_version("demo-batchpush", "batch-rest-api-key", HEX)
    with pytest.raises(RestKeyUnavailable, match="is the app key of web") as raised:
        await reader(manager, BATCH_APPS=f"ios=A,web={HEX}")()
    assert HEX[:4] not in str(raised.value)


async def test_a_missing_secret_and_a_missing_permission_name_the_secret(
    manager: secret_manager.SecretManager,
) -> None:
    read = reader(manager)
    with pytest.raises(RestKeyUnavailable, match=f"{SECRET}: NotFound"):
        await read()
    manager.fault(status=403)
    with pytest.raises(RestKeyUnavailable, match=f"{SECRET}: (PermissionDenied|Forbidden)"):
        await read()


async def test_a_secret_manager_that_cannot_be_reached_is_said_to_be_unavailable(
    monkeypatch: pytest.MonkeyPatch, service_account: str
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", service_account)
    monkeypatch.setattr("batchpush.batch_api.rest_key.TIMEOUT", 0.2)
    environment = {"BATCH_APPS": "ios=A", "SECRET_MANAGER_URL": "http://127.0.0.1:9"}
    with pytest.raises(RestKeyUnavailable, match=SECRET):
        await key_reader(Settings.from_environment(environment))()


@pytest.mark.parametrize("page", [b"<html>", b"\xff", b"[]", b'{"payload": {"data": "no"}}', b""])
async def test_another_answer_than_secret_manager_s_is_no_key(
    monkeypatch: pytest.MonkeyPatch, service_account: str, page: bytes
) -> None:
    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

    with serving(Proxy) as host:
        environment = {"BATCH_APPS": "ios=A", "SECRET_MANAGER_URL": f"http://{host}"}
        with pytest.raises(RestKeyUnavailable, match=SECRET):
            await key_reader(Settings.from_environment(environment))()


@pytest.mark.parametrize("key_file", ["/nowhere", "empty.json", "list.json"])
async def test_without_google_credentials_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key_file: str
) -> None:
    (tmp_path / "empty.json").touch()
    (tmp_path / "list.json").write_text("[]")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / key_file))
    fix = "Fix it with: gcloud auth application-default login"
    with pytest.raises(RestKeyUnavailable, match=fix):
        await key_reader(Settings.from_environment({"BATCH_APPS": "ios=A"}))()


async def test_a_key_in_the_environment_counts_in_the_emulator_only(
    manager: secret_manager.SecretManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.add_version("demo-batchpush", "batch-rest-api-key", b"from-secret-manager")
    monkeypatch.setenv("BATCH_REST_API_KEY", "from-environment")
    assert (await reader(manager)()).reveal() == "from-secret-manager"
    monkeypatch.setenv("FUNCTIONS_EMULATOR", "true")
    assert (await reader(manager)()).reveal() == "from-environment"
    monkeypatch.setenv("BATCH_REST_API_KEY", f"'{HEX}'")
    with pytest.raises(RestKeyUnavailable, match="BATCH_REST_API_KEY is in quotes") as raised:
        await reader(manager)()
    assert HEX[:4] not in str(raised.value)
