"""The settings: environment variables, which the Firebase CLI sets from `.env`."""

import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from batchpush.addresses import is_deep_link, is_public, is_scheme_of_an_app
from batchpush.errors import ConfigurationError
from batchpush.scoped import holding

# Strict, because libraries disagree on other forms: where one reads `http://evil.com\@localhost` as
# this machine, another connects to evil.com.
LOOPBACK = re.compile(
    r"https?://(localhost|127\.0\.0\.1|\[::1\])(:(?P<port>[1-9][0-9]{0,4}))?(/[\w.~/-]*)?",
    re.ASCII | re.IGNORECASE,
)
SOURCES = ("firestore", "database")
DEFAULT_DATABASE = "(default)"
CHANNELS = ("mep", "cep")  # Batch's platforms: Mobile and Customer Engagement
# In place of an app, in calls to the latter: they are for the project, with all of its apps. No app
# can be called so.
CEP = "CEP"
# Collections with other documents. A record in one that is watched would be an event in its turn.
TAKEN = frozenset(
    {"batch_bursts", "batch_digests", "batch_limits", "batch_looks"}
    | {"batch_profiles", "batch_receipts", "batch_stats"}
    | {"accounts", "articles", "campaigns", "carts", "conversations", "flights", "games", "offers"}
    | {"orders", "push_texts", "pushes", "topics", "trains", "users"}
)
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


def _channels(text: str) -> Mapping[str, str]:
    """The platform of each app that is named; that of all others is at the empty name."""
    if text in CHANNELS:
        return MappingProxyType({"": text})
    channels = {"": "mep"}
    for entry in text.split(","):
        name, _, channel = (part.strip() for part in entry.partition("="))
        if not name or name in channels or channel not in CHANNELS:
            raise ValueError("expected mep or cep for all apps, or such as ios=cep,android=mep")
        channels[name] = channel
    return MappingProxyType(channels)


def _project(text: str) -> str:
    if text and not re.fullmatch(r"project_[A-Za-z0-9_-]+", text):
        raise ValueError("expected a Batch project key, which starts with project_")
    return text


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
    if text in TAKEN:
        raise ValueError("expected a collection of its own: this one holds other documents")
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
    """One attribute per environment variable, with the same name in lower case.

    The docstrings are the table of `docs/settings.md`.
    """

    batch_apps: Mapping[str, str] = _setting(_apps, None)
    """`ios=KEY,android=KEY,web=KEY`: the app keys of the Batch dashboard. Names are free; the part
    before the first `_` is the platform (`ios_driver=KEY`).
    """
    channel: Mapping[str, str] = _setting(_channels, "mep")
    """Which of Batch's platforms the apps are on: `mep`, `cep`, or such as `ios=cep,android=mep`.
    See [CEP](cep.md).
    """
    batch_project: str = _setting(_project, "")
    """The key of the CEP project, `project_...`, if an app is on it."""
    batch_rest_key_secret: str = _setting(_secret, "batch-rest-api-key")
    """The secret that holds the REST key: its id, or `projects/PROJECT/secrets/ID`."""
    batch_api_url: str = _setting(_address("https://api.batch.com"), "https://api.batch.com")
    """Where Batch is; anything else only on localhost."""
    secret_manager_url: str = _setting(
        _address("https://secretmanager.googleapis.com"), "https://secretmanager.googleapis.com"
    )
    """Where Secret Manager is; anything else only on localhost."""
    region: str = _setting(_region, "us-central1")
    """Where the functions run: where the database is."""
    sources: frozenset[str] = _setting(_sources, "firestore")
    """Which databases are watched: `firestore`, `database`, or both with a comma."""
    database_instance: str = _setting(_instance, "")
    """The Realtime Database that is watched and read, by the first part of its address
    (`my-app-default-rtdb`); empty: the project's default one.
    """
    database: str = _setting(_database, DEFAULT_DATABASE)
    """The Firestore database that is watched, and that has the delivery records: see [Another
    Firestore database](deploy.md#another-firestore-database).
    """
    service_account: str = _setting(_service_account, "")
    """The service account that the functions run as, such as `batchpush@`; empty: the project's
    default one, which may do far more than they need.
    """
    default_language: str = _setting(_language, "en")
    """The language of people who have none in their profile. There must be a file for it in
    `handlers/texts/`.
    """
    deeplink_base: str = _setting(_deeplink_base, "")
    """What links in pushes start with, such as `myapp://`; empty: pushes about documents have no
    link.
    """
    deeplink_schemes: frozenset[str] = _setting(_schemes, "")
    """Schemes of apps, such as `partnerapp,otherapp`, that links may have besides `https` and that
    of `DEEPLINK_BASE`.
    """
    media_hosts: frozenset[str] = _setting(_hosts, "")
    """Hosts that pictures, sounds and films may come from, such as `cdn.example.com,.example.org`.
    `.example.org` stands for all names that end in it, and not for `example.org`. Empty: any
    public host.
    """
    deliveries_collection: str = _setting(_collection, "batch_deliveries")
    """The Firestore collection of the delivery records, which holds nothing else."""
    keep_deliveries_days: int = _setting(_whole_number(2, 3650), "30")
    """How many days delivery records are kept; at least 2."""
    keep_bodies_days: int = _setting(_whole_number(0, 3650), "7")
    """How many days the record of a push that Batch accepted holds its texts and recipients; 0 is
    not at all. See [Privacy](deploy.md#privacy).
    """
    recipient_index_days: int = _setting(_whole_number(0, 3650), "0")
    """How many days a delivery can be found by the people whom it concerns (`deliveries --user`,
    `console`); 0 is not at all.
    """
    notification_history_days: int = _setting(_whole_number(0, 3650), "0")
    """How many days `users/{id}/notifications` keeps what people were told, for an
    [inbox](inbox.md) in your apps; 0 is not at all.
    """
    coalesce_seconds: int = _setting(_whole_number(0, 3600), "0")
    """For how many seconds after a push the next messages of the same conversation are collected,
    for one more push that says how many; 0 is off.
    """
    profile_cache_seconds: int = _setting(_whole_number(0, 60), "0")
    """For how many seconds a process may reuse a profile (`users/{id}`), at most 60. A burst about
    the same people then reads them once, and a changed profile may take as long to have an effect;
    0 is off.
    """
    max_ambiguous_resends: int = _setting(_whole_number(0, 10), "1")
    """Maximum resends of a request whose outcome is unknown."""
    mirror_deliveries: bool = _setting(_switch, "false")
    """`true`: the outcome of each delivery is also written to `deliveries/{id}` under the document
    that caused it (Firestore only).
    """
    push_texts: bool = _setting(_switch, "false")
    """`true`: documents in `push_texts` have texts [in other words](texts.md#in-other-words). A
    process that has events then reads them once a minute, one read for each document and at least
    one. `false` costs nothing.
    """
    mirror_profiles: bool = _setting(_switch, "false")
    """`true`: attributes of `users/{id}`, chosen in `handlers/attributes.py`, are mirrored to
    Batch: see [Profiles](profiles.md).
    """
    forget_deleted_users: bool = _setting(_switch, "false")
    """`true`: when `users/{id}` is deleted, Batch is asked to remove the person, and the records
    forget them: see [Leaving](leaving.md).
    """
    publish_articles: str = _setting(_one_of("draft", "live", "followers"), "draft")
    """What a published article becomes: a campaign that is a `draft` for an editor to send, or
    `live`; or a push to its `followers`.
    """
    max_pushes_per_sender: int = _setting(_whole_number(1, 10_000), "60")
    """Maximum pushes a minute that one person may cause by what they write: see
    [Limits](limits.md).
    """
    max_pushes_per_pair: int = _setting(_whole_number(1, 10_000), "20")
    """Maximum of those that reach the same person."""
    cart_hours: int = _setting(_whole_number(1, 720), "24")
    """After how many hours without a change a cart counts as abandoned."""
    enforce_app_check: bool = _setting(_switch, "false")
    """`true`: `notify` answers only apps that App Check vouches for."""
    concurrency: int = _setting(_whole_number(1, 1000), "80")
    """Maximum events that one instance handles at once."""
    min_instances: int = _setting(_whole_number(0, 1000), "0")
    """How many idle instances of each function that watches a database are kept: see [Cold
    starts](performance.md#cold-starts).
    """
    log_level: str = _setting(_one_of(*LOG_LEVELS), "INFO")
    """`DEBUG`, `INFO`, `WARNING` or `ERROR`."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Raises `ConfigurationError`: one line that names every variable to fix."""
        values, problems = _read(environment)
        if problems:
            raise ConfigurationError("; ".join(problems.values()))
        return cls(**values)

    @functools.cached_property
    def cep_apps(self) -> frozenset[str]:
        """The apps that are on the Customer Engagement Platform."""
        others = self.channel[""]
        return frozenset(app for app in self.batch_apps if self.channel.get(app, others) == "cep")

    @functools.cached_property
    def push_apps(self) -> tuple[str, ...] | Mapping[str, str]:
        """The apps; if some are on CEP, with what is called for each: itself, or `CEP`."""
        if not self.cep_apps:
            return tuple(self.batch_apps)
        return {app: CEP if app in self.cep_apps else app for app in self.batch_apps}

    @functools.cached_property
    def callable_apps(self) -> frozenset[str]:
        """What calls can be made for, whatever new ones are made for: records may be older."""
        return frozenset(self.batch_apps) | ({CEP} if self.batch_project else frozenset())

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
    usable = dict(environment) | {name: defaults[name] for name in problems_in(environment)}
    # Without its own BATCH_APPS, CHANNEL may name apps that are not there.
    return usable | {name: defaults[name] for name in problems_in(usable)}


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
    if not problems and (mistake := _mistake_in_channel(**values)):
        problems["CHANNEL"] = f"CHANNEL: {mistake}"
    return values, problems


def _mistake_in_channel(
    batch_apps: Mapping[str, str], channel: Mapping[str, str], batch_project: str, **_: Any
) -> str | None:
    """What is wrong with it beside the other settings."""
    if channel.keys() - batch_apps.keys() - {""}:
        return "names an app that BATCH_APPS does not"
    return None if batch_project or "cep" not in channel.values() else "cep needs BATCH_PROJECT"


def settings() -> Settings:
    """The settings of this process, or those that a test provides; raises `ConfigurationError`."""
    return _current.get() or process_settings()


_current: ContextVar[Settings | None] = ContextVar("current", default=None)


def working_by(chosen: Settings) -> AbstractContextManager[None]:
    """Inside the block, these are the settings."""
    return holding(_current, chosen)


@functools.cache
def process_settings() -> Settings:
    """The settings of this process, read on first use."""
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
