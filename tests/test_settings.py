import os
import subprocess
import sys
from dataclasses import fields

import pytest

from batchpush.errors import ConfigurationError
from batchpush.settings import Settings


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
        ("BATCH_REST_KEY_SECRET", "projects/p/secrets/s/versions/3"),
        ("BATCH_API_URL", "https://api.batch.com.evil.example"),
        ("BATCH_API_URL", "http://api.batch.com"),
        ("BATCH_API_URL", "http://10.0.0.1:4010"),
        ("BATCH_API_URL", "ftp://localhost"),
        ("SECRET_MANAGER_URL", "https://example.com"),
        ("REGION", "everywhere"),
        ("SOURCES", "firestore,mysql"),
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
        ("KEEP_DELIVERIES_DAYS", "1"),
        ("MAX_AMBIGUOUS_RESENDS", "-1"),
        ("MIRROR_DELIVERIES", "yes"),
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
        ("BATCH_API_URL", "http://127.0.0.1:4010/", "http://127.0.0.1:4010"),
        ("BATCH_API_URL", "http://[::1]:4010", "http://[::1]:4010"),
        ("BATCH_API_URL", "https://api.batch.com/", "https://api.batch.com"),
        ("BATCH_REST_KEY_SECRET", "projects/p-1/secrets/key", "projects/p-1/secrets/key"),
        ("SOURCES", "database, firestore", {"firestore", "database"}),
        ("REGION", "europe-west1", "europe-west1"),
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
