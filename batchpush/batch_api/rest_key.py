"""Reads the REST key from Secret Manager at run time.

The key gives access to every app of the company. So it is never in the deployment's environment,
and inside this package it is wrapped in a `RestKey`, which does not show it.
"""

import asyncio
import base64
import binascii
import codecs
import functools
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from batchpush.environment import Settings, in_emulator, is_loopback, project_id
from batchpush.errors import RestKeyUnavailable
from batchpush.google.connection import Meaning, fix_of
from batchpush.logs import log

FRESH_FOR = 300.0  # seconds to use a key before reading it again
MIN_REFRESH_INTERVAL = 30.0  # seconds between reads, however many requests are refused
TIMEOUT = 10.0  # seconds for one read, including the client's own retries


class RestKey:
    """The key; only `reveal` returns it, and only the HTTP client calls that."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RestKey) and other._value == self._value

    def __repr__(self) -> str:
        return "RestKey(****)"

    def __reduce__(self) -> Any:
        raise TypeError("a RestKey must not be stored")


# What people store by mistake instead of a key; the first match counts. These texts are logged and
# recorded, so they do not repeat the value.
MISTAKES = {
    re.compile(pattern, re.DOTALL | re.IGNORECASE): mistake
    for pattern, mistake in {
        r"": "is empty",
        r"-----BEGIN .*": "is a certificate or a private key",
        r"[{\[].*": "is JSON",
        r"[a-z][a-z0-9+.-]*://.*": "is a URL",
        r"projects/.*": "is the name of a secret",
        r"(export\s+)?[a-z_][\w-]*\s*=\s*[^=\s].*": "is a line NAME=VALUE",
        r"(export\s+)?[a-z]+_\w*\s*=\s*": "is a line NAME=VALUE, without the value",
        r"[\"'`].*|.*[\"'`]": "is in quotes",
        r"[\w-]+\s*:.*": "is a line NAME: VALUE, such as a header",
        r"(basic|bearer|key|token)\s.*": "has a word such as Bearer before the key",
        r"null|undefined|none|nil": "is a word for no value",
        r"[$<].*|your[-_].*|change[-_]?me|todo|x{3,}|[*.]+": "is a placeholder",
        r".*[\r\n].*": "has several lines",
        r".*\s.*": "has spaces in it",
    }.items()
}
KEY = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # a credential in a header, by RFC 7235 (token68)
USUAL = re.compile(rb"[0-9a-fA-F]{32}\s*")  # the form of the keys in Batch's examples


def key_in(payload: bytes) -> str:
    """The key in a secret; raises ValueError that names the mistake without repeating the value.

    Tolerates the newline and the byte order mark that shells and editors add.
    """
    if b"\0" in payload or payload.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("is in UTF-16")
    try:
        text = payload.removeprefix(codecs.BOM_UTF8).decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError("has characters that are not ASCII") from None
    for pattern, mistake in MISTAKES.items():
        if pattern.fullmatch(text):
            raise ValueError(mistake)
    if not KEY.fullmatch(text):
        raise ValueError("has characters that no key has")
    if _is_encoded(text):
        raise ValueError("is in base64")
    return text


def _is_encoded(text: str) -> bool:
    """Whether it is a key of the usual form in base64, as other secret stores require it."""
    try:
        return bool(USUAL.fullmatch(base64.b64decode(text, validate=True)))
    except (binascii.Error, ValueError):
        return False


class RestKeyCache:
    """Caches the key for five minutes; concurrent requests share one read.

    If a later read fails, the cached key stays in use: Batch will refuse it if it is no longer
    valid.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[RestKey]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._key: RestKey | None = None
        self._read_at = -float("inf")
        self._lock = asyncio.Lock()

    async def get(self) -> RestKey:
        """Raises `RestKeyUnavailable` if no key can be read and none is cached."""
        if self._key is not None and self._age() < FRESH_FOR:
            return self._key
        async with self._lock:
            if self._key is None or self._age() >= FRESH_FOR:
                await self._renew()
        assert self._key is not None
        return self._key

    async def replaced(self, refused: RestKey) -> RestKey | None:
        """The key that replaced one that Batch refused; None if there is no other."""
        async with self._lock:
            if self._key == refused and self._age() >= MIN_REFRESH_INTERVAL:
                await self._renew()
        return self._key if self._key != refused else None

    def _age(self) -> float:
        return self._clock() - self._read_at

    async def _renew(self) -> None:
        try:
            self._key = await self._read()
        except RestKeyUnavailable as error:
            if self._key is None:
                raise
            log("WARNING", "rest_key.kept", error=error)
        self._read_at = self._clock()


def key_reader(settings: Settings) -> Callable[[], Awaitable[RestKey]]:
    """A reader of the key from Secret Manager, through one client created on first use.

    In the Functions emulator, `BATCH_REST_API_KEY` in the environment takes precedence.
    """

    @functools.cache
    def client() -> Any:
        return _secret_manager(settings.secret_manager_url)

    def read() -> RestKey:
        if in_emulator() and (local := os.environ.get("BATCH_REST_API_KEY")):
            source, payload = "BATCH_REST_API_KEY", os.fsencode(local)
        else:
            secret = settings.batch_rest_key_secret
            name = secret if "/" in secret else f"projects/{project_id()}/secrets/{secret}"
            source, payload = f"{name}: the latest version", _latest_version(client, name)
        try:
            return RestKey(_no_app_key(key_in(payload), settings))
        except ValueError as mistake:
            raise RestKeyUnavailable(f"{source} {mistake}; it must be the REST key alone") from None

    async def read_in_thread() -> RestKey:
        return await asyncio.to_thread(read)

    return read_in_thread


def _secret_manager(url: str) -> Any:
    from google.cloud.secretmanager_v1 import SecretManagerServiceClient
    from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
        SecretManagerServiceRestTransport,
    )
    from google.oauth2.credentials import Credentials

    address = urlsplit(url)
    # A server on this machine is not Google: never send it a real token.
    credentials = Credentials("local") if is_loopback(url) else None
    # REST, not gRPC: one request every five minutes does not justify a channel and its threads.
    return SecretManagerServiceClient(
        transport=SecretManagerServiceRestTransport(
            host=address.netloc, url_scheme=address.scheme, credentials=credentials
        )
    )


def _no_app_key(key: str, settings: Settings) -> str:
    """The key, unless it is an app's: in Batch's dashboard, they are easily confused."""
    for app, app_key in settings.batch_apps.items():
        if key == app_key:
            raise ValueError(f"is the app key of {app}")
    return key


def _latest_version(client: Callable[[], Any], name: str) -> bytes:
    """The content of the latest version of a secret; raises `RestKeyUnavailable`."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.api_core.retry import Retry
    from google.auth.exceptions import GoogleAuthError
    from google.protobuf.json_format import ParseError
    from requests.exceptions import RequestException

    try:
        made = client()
    except Exception as error:  # noqa: BLE001 - an unreadable key file can raise anything
        fix = fix_of(Meaning.NO_IDENTITY, None, "")
        raise RestKeyUnavailable(f"{name}: {type(error).__name__}. {fix}") from None
    try:
        version = made.access_secret_version(
            name=f"{name}/versions/latest", timeout=TIMEOUT, retry=Retry(timeout=TIMEOUT)
        )
    except (
        GoogleAPICallError,
        GoogleAuthError,
        RetryError,
        # The REST transport lets these through; the last two for a proxy's page in place of JSON.
        RequestException,
        ParseError,
        UnicodeDecodeError,
    ) as error:
        raise RestKeyUnavailable(f"{name}: {type(error).__name__}") from None
    payload: bytes = version.payload.data
    return payload
