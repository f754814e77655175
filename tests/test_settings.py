import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from batchpush.environment import (
    TAKEN,
    Settings,
    is_loopback,
    process_settings,
    watched_instance,
    with_defaults,
)
from batchpush.errors import ConfigurationError

LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


def settings(**environment: str) -> Settings:
    return Settings.from_environment({"BATCH_APPS": "ios=KEY"} | environment)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("BATCH_APPS", ""),
        ("BATCH_APPS", "ios"),
        ("BATCH_APPS", "ios="),
        ("BATCH_APPS", "=KEY"),
        ("BATCH_APPS", "ios=KEY,,web=KEY"),
        ("BATCH_APPS", "ios=KEY,ios=OTHER"),
        ("BATCH_APPS", "ios=a/../b"),
        ("BATCH_APPS", "IOS=KEY"),
        ("CHANNEL", "email"),
        ("CHANNEL", "cep"),
        ("CHANNEL", "ios=mail"),
        ("CHANNEL", "=cep"),
        ("CHANNEL", "ios=mep,ios=mep"),
        ("CHANNEL", "android=mep"),
        ("BATCH_PROJECT", "5f2c9d1e0a7b4c3d8e6f5a4b3c2d1e0f"),
        ("BATCH_PROJECT", "project_"),
        ("BATCH_REST_KEY_SECRET", "projects/p/secrets/s/versions/3"),
        ("BATCH_API_URL", "https://api.batch.com.evil.example"),
        ("BATCH_API_URL", "http://api.batch.com"),
        ("BATCH_API_URL", "http://10.0.0.1:4010"),
        ("BATCH_API_URL", "ftp://localhost"),
        ("SECRET_MANAGER_URL", "https://example.com"),
        ("BATCH_REST_KEY_SECRET", "5f2c9d1e0a7b4c3d8e6f5a4b3c2d1e0f"),
        ("REGION", "everywhere"),
        ("SOURCES", "firestore,mysql"),
        ("DATABASE_INSTANCE", "*"),
        ("DATABASE_INSTANCE", "Demo"),
        ("DATABASE_INSTANCE", "demo.firebaseio.com"),
        ("DATABASE", "or"),
        ("DATABASE", "Orders"),
        ("DATABASE", "a/b"),
        ("SERVICE_ACCOUNT", "batchpush"),
        ("SERVICE_ACCOUNT", "ann@example.com"),
        ("SERVICE_ACCOUNT", "serviceAccount:batchpush@"),
        ("DEFAULT_LANGUAGE", "english!"),
        ("DEEPLINK_BASE", "myapp"),
        ("DEEPLINK_BASE", "http://example.com/"),
        ("DEEPLINK_BASE", "javascript://"),
        ("DEEPLINK_SCHEMES", "https"),
        ("DEEPLINK_SCHEMES", "myapp,javascript"),
        ("DEEPLINK_SCHEMES", "myapp,,partner"),
        ("DEEPLINK_SCHEMES", "myapp://orders"),
        ("DEEPLINK_SCHEMES", "my app"),
        ("MEDIA_HOSTS", "https://example.com"),
        ("MEDIA_HOSTS", "example.com/pictures"),
        ("MEDIA_HOSTS", "*.example.com"),
        ("MEDIA_HOSTS", "example.com:8443"),
        ("MEDIA_HOSTS", "localhost"),
        ("MEDIA_HOSTS", "10.0.0.1"),
        ("MEDIA_HOSTS", ".com"),
        ("MEDIA_HOSTS", "cdn.example.com,,"),
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "many"),
        ("LOG_LEVEL", "LOUD"),
        ("DELIVERIES_COLLECTION", "a/b"),
        ("DELIVERIES_COLLECTION", "pushes"),
        ("DELIVERIES_COLLECTION", "batch_limits"),
        ("KEEP_DELIVERIES_DAYS", "1"),
        ("MAX_AMBIGUOUS_RESENDS", "-1"),
        ("MIRROR_DELIVERIES", "yes"),
        ("PUSH_TEXTS", "yes"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(**{variable: text})
    assert str(raised.value).startswith(variable)
    assert "\n" not in str(raised.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"BATCH_APPS.*REGION.*CONCURRENCY"):
        settings(BATCH_APPS="", REGION="?", CONCURRENCY="?")


def test_a_wrong_setting_is_not_repeated_for_it_may_be_a_key() -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(BATCH_APPS="5f2c9d1e0a7b4c3d8e6f5a4b3c2d1e0f")
    assert "5f2c" not in str(raised.value)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("BATCH_APPS", " ios = A , ios_driver=B ", {"ios": "A", "ios_driver": "B"}),
        ("CHANNEL", "", {"": "mep"}),
        ("CHANNEL", "ios=mep", {"": "mep", "ios": "mep"}),
        ("BATCH_PROJECT", "project_0664hxv", "project_0664hxv"),
        ("BATCH_API_URL", "http://127.0.0.1:4010/", "http://127.0.0.1:4010"),
        ("BATCH_API_URL", "http://[::1]:4010", "http://[::1]:4010"),
        ("BATCH_API_URL", "https://api.batch.com/", "https://api.batch.com"),
        ("BATCH_REST_KEY_SECRET", "projects/p-1/secrets/key", "projects/p-1/secrets/key"),
        ("SOURCES", "database, firestore", {"firestore", "database"}),
        ("REGION", "europe-west1", "europe-west1"),
        ("DATABASE", "", "(default)"),
        ("DATABASE", "orders-2", "orders-2"),
        ("SERVICE_ACCOUNT", "", ""),
        ("SERVICE_ACCOUNT", "batchpush@", "batchpush@"),
        (
            "SERVICE_ACCOUNT",
            "batchpush@my-project.iam.gserviceaccount.com",
            "batchpush@my-project.iam.gserviceaccount.com",
        ),
        (
            "SERVICE_ACCOUNT",
            "123-compute@developer.gserviceaccount.com",
            "123-compute@developer.gserviceaccount.com",
        ),
        ("DEEPLINK_BASE", "https://example.com/app/", "https://example.com/app/"),
        ("DEEPLINK_SCHEMES", "", set()),
        ("DEEPLINK_SCHEMES", " MyApp , partner:// ", {"myapp", "partner"}),
        ("MEDIA_HOSTS", "", set()),
        ("MEDIA_HOSTS", "CDN.example.com, .example.org", {"cdn.example.com", ".example.org"}),
        ("CONCURRENCY", "", 80),
    ],
)
def test_a_right_setting_is_read(variable: str, text: str, value: object) -> None:
    assert getattr(settings(**{variable: text}), variable.lower()) == value


@pytest.mark.parametrize(
    ("channel", "called"),
    [
        ("mep", ["ios", "android", "web"]),
        ("cep", {"ios": "CEP", "android": "CEP", "web": "CEP"}),
        (" ios = cep , web=mep ", {"ios": "CEP", "android": "android", "web": "web"}),
    ],
)
def test_the_apps_on_cep_are_one_project(channel: str, called: object) -> None:
    apps = "ios=A,android=B,web=C"
    made = settings(BATCH_APPS=apps, CHANNEL=channel, BATCH_PROJECT="project_1")
    given = made.push_apps
    assert (given if isinstance(given, dict) else list(given)) == called
    assert made.callable_apps == {"ios", "android", "web", "CEP"}


def test_settings_with_defaults_for_wrong_ones_can_always_be_used() -> None:
    made = Settings.from_environment(with_defaults({"BATCH_APPS": "?", "CHANNEL": "driver=cep"}))
    assert made.cep_apps == frozenset()


LOCAL = [
    "http://localhost",
    "http://localhost/",
    "https://localhost:4010",
    "HTTP://LocalHost:4010",
    "http://127.0.0.1:65535/batch/v1",
    "http://[::1]:4010",
]
ELSEWHERE = [
    "http://evil.com\\@localhost",
    "http://localhost\\@evil.com",
    "http://localhost@evil.com",
    "http://evil.com@localhost",
    "http://user:password@127.0.0.1:4010",
    "http://127.0.0.1.evil.com",
    "http://localhost.evil.com",
    "http://evil.com/localhost",
    "http://evil.com#localhost",
    "http://evil.com?localhost",
    "http://localhost#@evil.com",
    "http://localhost?@evil.com",
    "http://localhost:4010?a=1",
    "http://localhost:4010#a",
    "http://[::1]evil",
    "http://[::1]@evil.com",
    "http://[::1].evil.com",
    "http://[::ffff:127.0.0.1]",
    "http://[::1%25eth0]",
    "http://::1",
    "http://localhost.",
    "http://localhost:",
    "http://localhost:0",
    "http://localhost:65536",
    "http://localhost:80evil",
    "http://localhost:٤٠١٠",
    "http://localhost:4010@evil.com",
    "http://localhost%2eevil.com",
    "http://loc\nalhost",
    "http://local\thost",
    "http://localhost\x00.evil.com",
    "http://localhost /",
    "http://localhost/a b",
    "http://localhost/\u202e",
    "http://ｌocalhost",
    "http://127.1",
    "http://127.0.0.2",
    "http://0.0.0.0",
    "http://2130706433",
    "http://0x7f000001",
    "http:localhost",
    "http:///localhost",
    "http:/localhost",
    "//localhost",
    "localhost:4010",
    "ftp://localhost",
    "javascript://localhost",
    " http://localhost",
    "http://localhost\n",
    "",
]


@pytest.mark.parametrize("url", LOCAL)
def test_an_address_on_this_machine_is_one_for_every_library(url: str) -> None:
    assert is_loopback(url)
    assert urlsplit(url).hostname in LOCAL_HOSTS
    assert URL(url).host in LOCAL_HOSTS
    assert httpx.URL(url).host in LOCAL_HOSTS
    assert requests.Request("GET", url).prepare().url
    assert settings(BATCH_API_URL=url).batch_api_url == url.rstrip("/")


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("variable", ["BATCH_API_URL", "SECRET_MANAGER_URL"])
def test_what_any_library_may_take_for_another_host_is_not_on_this_machine(
    variable: str, url: str
) -> None:
    assert not is_loopback(url)
    if url.strip() and not is_loopback(url.strip()):
        with pytest.raises(ConfigurationError, match=f"^{variable}: expected "):
            settings(**{variable: url})


@given(st.text(alphabet="htp:/localhost127.0[]@#?\\% 4evil.com", max_size=40))
def test_an_address_that_is_taken_is_at_one_of_three_hosts(rest: str) -> None:
    url = f"http://{rest}"
    if is_loopback(url):
        assert urlsplit(url).hostname in LOCAL_HOSTS
        assert URL(url).host in LOCAL_HOSTS
        assert httpx.URL(url).host in LOCAL_HOSTS


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"BATCH_APPS": ""}, "BATCH_APPS"),
        ({"BATCH_APPS": "ios"}, "BATCH_APPS"),
        ({"BATCH_API_URL": "https://example.com"}, "BATCH_API_URL"),
        ({"DEFAULT_LANGUAGE": "tlh"}, "DEFAULT_LANGUAGE"),
    ],
)
def test_importing_main_fails_with_the_line_that_names_the_setting(
    changed: dict[str, str], named: str
) -> None:
    imported = subprocess.run(
        [sys.executable, "-c", "import main"],
        env=os.environ | changed,
        capture_output=True,
        text=True,
        check=False,
    )
    last_line = imported.stderr.strip().splitlines()[-1]
    assert imported.returncode == 1
    assert last_line.startswith(f"batchpush.errors.ConfigurationError: {named}")


def test_the_example_file_has_every_setting_with_its_default() -> None:
    with open(".env.example", encoding="utf-8") as file:
        lines = [line.strip().removeprefix("#").strip() for line in file]
    given = dict(line.split("=", 1) for line in lines if line[:1].isupper() and "=" in line)
    for setting in fields(Settings):
        variable, default = setting.name.upper(), setting.metadata["default"]
        assert variable in given
        assert default is None or given[variable] == default
    assert set(given) == {setting.name.upper() for setting in fields(Settings)}
    Settings.from_environment(given)


USUAL = "demo-batchpush-default-rtdb"


@pytest.mark.parametrize(
    ("config", "chosen", "watched"),
    [
        (None, "", USUAL),
        ("not JSON", "", USUAL),
        ("[]", "", USUAL),
        ('{"projectId": "p"}', "", USUAL),
        ('{"databaseURL": null}', "", USUAL),
        ('{"databaseURL": "https://evil.example"}', "", USUAL),
        ('{"databaseURL": "https://old-app.firebaseio.com"}', "", "old-app"),
        ('{"databaseURL": "https://a-1.europe-west1.firebasedatabase.app/"}', "", "a-1"),
        ('{"databaseURL": "http://127.0.0.1:9000/?ns=local"}', "", "local"),
        ('{"databaseURL": "https://old-app.firebaseio.com"}', "chosen", "chosen"),
        (None, "chosen", "chosen"),
    ],
)
def test_the_project_s_default_database_is_watched_unless_another_one_is_chosen(
    config: str | None, chosen: str, watched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if config:
        monkeypatch.setenv("FIREBASE_CONFIG", config)
    monkeypatch.setenv("DATABASE_INSTANCE", chosen)
    process_settings.cache_clear()
    assert watched_instance() == watched
    process_settings.cache_clear()


def test_records_share_no_collection_with_other_documents() -> None:
    """Each would be a new document in `pushes`, and cause the next one."""
    rules = Path("firestore.rules").read_text(encoding="utf-8")
    collections = set(re.findall(r"^    match /(\w+)/", rules, re.MULTILINE))
    assert collections - {"batch_deliveries"} == TAKEN
