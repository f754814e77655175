"""The settings: environment variables, which the Firebase CLI sets from `.env`."""

import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from batchpush.addresses import is_deep_link, is_public, is_scheme_of_an_app
from batchpush.errors import ConfigurationError

# Strict, because libraries disagree on other forms: where one reads `http://evil.com\@localhost` as
# this machine, another connects to evil.com.
LOOPBACK = re.compile(
    r"https?://(localhost|127\.0\.0\.1|\[::1\])(:(?P<port>[1-9][0-9]{0,4}))?(/[\w.~/-]*)?",
    re.ASCII | re.IGNORECASE,
)
SOURCES = ("firestore", "database")
DEFAULT_DATABASE = "(default)"
EXAMPLE_APPS = "ios=YOUR_IOS_KEY,android=YOUR_ANDROID_KEY,web=YOUR_WEB_KEY"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine, whichever library parses it."""
    found = LOOPBACK.fullmatch(url)
    return found is not None and int(found["port"] or 80) <= 65_535


# Each parser turns the text of a variable into its value, or raises ValueError with what it
# expected. It does not repeat the text, which may contain a pasted key.


def _apps(text: str) -> Mapping[str, str]:
    apps: dict[str, str] = {}
    for number, entry in enumerate(text.split(","), start=1):
        name, _, key = (part.strip() for part in entry.partition("="))
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not re.fullmatch(r"[A-Za-z0-9_-]+", key):
            raise ValueError(
                f"entry {number} is not NAME=KEY: expected ios=KEY,android=KEY,web=KEY, a name "
                "of lower-case letters, digits and _, and a Batch app key"
            )
        if name in apps:
            raise ValueError(f"entry {number} names the app {name} a second time")
        apps[name] = key
    return MappingProxyType(apps)


def _secret(text: str) -> str:
    if not re.fullmatch(r"(projects/[a-z0-9:.-]+/secrets/)?[A-Za-z0-9_-]{1,255}", text):
        raise ValueError("expected a Secret Manager secret id, or projects/PROJECT/secrets/ID")
    if re.fullmatch(r"[0-9a-fA-F]{32}", text):  # a secret's name is logged
        raise ValueError("looks like a key; expected the id of the secret that holds it")
    return text


def _address(official: str) -> Callable[[str], str]:
    """A parser that accepts the official address, or any address on this machine."""

    def parse(text: str) -> str:
        if text.rstrip("/") != official and not is_loopback(text):
            raise ValueError(f"expected {official}, or an address on localhost")
        return text.rstrip("/")

    return parse


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]+(-[a-z]+)+[0-9]+", text):
        raise ValueError("expected a Google Cloud region such as us-central1")
    return text


def _sources(text: str) -> frozenset[str]:
    sources = frozenset(part.strip() for part in text.split(","))
    if not sources <= set(SOURCES):
        raise ValueError("expected firestore, database, or both separated by a comma")
    return sources


def _language(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", text):
        raise ValueError("expected a language such as en or pt-BR")
    return text


def _instance(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]*", text):
        raise ValueError("expected a Realtime Database's name: lower-case letters, digits and -")
    return text


def _deeplink_base(text: str) -> str:
    if text and not is_deep_link(text, {_scheme(text)}):
        raise ValueError("expected the start of a link, such as myapp:// or https://example.com/")
    return text


def _database(text: str) -> str:
    if text != DEFAULT_DATABASE and not re.fullmatch(r"[a-z][a-z0-9-]{2,61}[a-z0-9]", text):
        raise ValueError("expected (default), or the name of another Firestore database")
    return text


def _service_account(text: str) -> str:
    if text and not re.fullmatch(r"[a-z0-9-]+@([a-z0-9.-]+\.gserviceaccount\.com)?", text):
        raise ValueError(
            "expected NAME@ or NAME@PROJECT.iam.gserviceaccount.com, a service account"
        )
    return text


def _scheme(link: str) -> str:
    return link.partition("://")[0].lower()


def _schemes(text: str) -> frozenset[str]:
    schemes = frozenset(part.removesuffix("://").lower() for part in _parts(text))
    if not all(map(is_scheme_of_an_app, schemes)):
        raise ValueError(
            "expected comma-separated schemes of apps, such as myapp,partnerapp; https is always "
            "allowed, and schemes that phones open themselves never are"
        )
    return schemes


def _hosts(text: str) -> frozenset[str]:
    hosts = frozenset(part.lower() for part in _parts(text))
    if not all(is_public(host.removeprefix(".")) for host in hosts):
        raise ValueError(
            "expected comma-separated public host names, such as cdn.example.com,.example.org; "
            "the second one allows all names that end in it"
        )
    return hosts


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _collection(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text) or re.fullmatch(r"__.*__", text):
        raise ValueError("expected the name of a collection: letters, digits, _ and -")
    return text


def _whole_number(min_: int, max_: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not min_ <= int(text) <= max_:
            raise ValueError(f"expected a whole number from {min_} to {max_}")
        return int(text)

    return parse


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("expected true or false")
    return text == "true"


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("expected one of " + ", ".join(choices))
        return text

    return parse


def _setting(parse: Callable[[str], Any], default: str | None) -> Any:
    """A field of `Settings`; a variable without a default is required."""
    return field(metadata={"parse": parse, "default": default})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One attribute per environment variable, with the same name in lower case."""

    batch_apps: Mapping[str, str] = _setting(_apps, None)
    batch_rest_key_secret: str = _setting(_secret, "batch-rest-api-key")
    batch_api_url: str = _setting(_address("https://api.batch.com"), "https://api.batch.com")
    secret_manager_url: str = _setting(
        _address("https://secretmanager.googleapis.com"), "https://secretmanager.googleapis.com"
    )
    region: str = _setting(_region, "us-central1")
    sources: frozenset[str] = _setting(_sources, "firestore")
    database_instance: str = _setting(_instance, "")
    database: str = _setting(_database, DEFAULT_DATABASE)
    service_account: str = _setting(_service_account, "")
    default_language: str = _setting(_language, "en")
    deeplink_base: str = _setting(_deeplink_base, "")
    deeplink_schemes: frozenset[str] = _setting(_schemes, "")
    media_hosts: frozenset[str] = _setting(_hosts, "")
    deliveries_collection: str = _setting(_collection, "batch_deliveries")
    keep_deliveries_days: int = _setting(_whole_number(2, 3650), "30")
    keep_bodies_days: int = _setting(_whole_number(0, 3650), "7")
    coalesce_seconds: int = _setting(_whole_number(0, 3600), "0")
    profile_cache_seconds: int = _setting(_whole_number(0, 60), "0")
    max_ambiguous_resends: int = _setting(_whole_number(0, 10), "1")
    mirror_deliveries: bool = _setting(_switch, "false")
    publish_articles: str = _setting(_one_of("draft", "live"), "draft")
    max_pushes_per_sender: int = _setting(_whole_number(1, 10_000), "60")
    max_pushes_per_pair: int = _setting(_whole_number(1, 10_000), "20")
    cart_hours: int = _setting(_whole_number(1, 720), "24")
    enforce_app_check: bool = _setting(_switch, "false")
    concurrency: int = _setting(_whole_number(1, 1000), "80")
    min_instances: int = _setting(_whole_number(0, 1000), "0")
    log_level: str = _setting(_one_of(*LOG_LEVELS), "INFO")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises `ConfigurationError`: one line that names every variable to fix."""
        values, problems = _read(environment)
        if problems:
            raise ConfigurationError("; ".join(problems.values()))
        return cls(**values)

    @functools.cached_property
    def link_schemes(self) -> frozenset[str]:
        """The lower-case schemes that links in a push may have."""
        of_base = {_scheme(self.deeplink_base)} if self.deeplink_base else set()
        return frozenset({"https"} | of_base | self.deeplink_schemes)


VARIABLES = tuple(setting.name.upper() for setting in fields(Settings))


def problems_in(environment: Mapping[str, str]) -> dict[str, str]:
    """The problem of each variable that has to be fixed, by its name."""
    return _read(environment)[1]


def with_defaults(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with defaults for its invalid variables, so that the rest can be used."""
    defaults = {each.name.upper(): each.metadata["default"] for each in fields(Settings)}
    defaults["BATCH_APPS"] = EXAMPLE_APPS
    return dict(environment) | {name: defaults[name] for name in problems_in(environment)}


def _read(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The value of each valid field, and the problem of each invalid variable."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for setting in fields(Settings):
        variable = setting.name.upper()
        text = environment.get(variable, "").strip() or setting.metadata["default"]
        if text is None:
            problems[variable] = f"{variable} is not set: see .env.example"
            continue
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as problem:
            problems[variable] = f"{variable}: {problem}"
    return values, problems


@functools.cache
def settings() -> Settings:
    """The settings of this process; raises `ConfigurationError`."""
    return Settings.from_environment(os.environ)


def in_emulator() -> bool:
    """Whether this process runs in the Functions emulator."""
    return os.environ.get("FUNCTIONS_EMULATOR") == "true"


def project_id() -> str | None:
    """The Google Cloud project, from the environment that the CLI or the platform sets."""
    return os.environ.get("GOOGLE_CLOUD_PROJECT") or os.environ.get("GCLOUD_PROJECT")


def watched_instance() -> str:
    """The Realtime Database instance that the functions are deployed for."""
    return settings().database_instance or _default_instance() or _usual_instance()


def known_instance() -> str | None:
    """The instance that events must come from; None if that is not certain.

    The emulator names the default instance differently from Google.
    """
    chosen: str = settings().database_instance
    return chosen or (None if in_emulator() else _default_instance())


def _default_instance() -> str | None:
    """The project's default instance, whose URL the CLI and the platform put in the environment."""
    try:
        address: str = json.loads(os.environ.get("FIREBASE_CONFIG", ""))["databaseURL"]
        url = urlsplit(address)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if namespace := parse_qs(url.query).get("ns"):
        return namespace[0]
    name, _, domain = (url.hostname or "").partition(".")
    is_google_s = domain == "firebaseio.com" or domain.endswith(".firebasedatabase.app")
    return name if is_google_s else None


def _usual_instance() -> str:
    """Firebase's name for the default instance; in an old project, it is the project's own name."""
    return f"{project_id() or 'PROJECT'}-default-rtdb"
