"""Checks every address in a push, nested ones included, against the settings.

Deep links may have the scheme `https`, that of `DEEPLINK_BASE` and those of `DEEPLINK_SCHEMES`;
media must be on `MEDIA_HOSTS`, or on any public host if that is not set.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchpush.addresses import NO_APPS, SCHEME, is_deep_link, is_media_address
from batchpush.environment import settings
from batchpush.errors import InvalidPush

A_LINK = "must be a link: https://, or of an app that DEEPLINK_BASE or DEEPLINK_SCHEMES names"
MEDIA = "must be an https:// address of a public host; if MEDIA_HOSTS is set, of one of those"
MEDIA_KEYS = frozenset({"audio", "icon", "image", "media", "picture", "video"})
# Text that people read and nothing opens.
TEXT_KEYS = frozenset({"body", "header", "image_description", "label", "subtitle", "title"})
# In a payload, which belongs to the app, these are plain data. Phones open the other schemes as
# code, as files, or as part of another app.
DATA = frozenset({"ftp", "http", "mailto", "sms", "tel", "ws", "wss"})
PAYLOAD = "custom_payload"
MAX_LEVELS = 100
MAX_NAME = 100  # characters of a key in an error message


def is_link(text: str) -> bool:
    """Whether a push may open this link."""
    return is_deep_link(text, settings().link_schemes)


def is_media(text: str) -> bool:
    """Whether a push may load an image, a sound or a video from this address."""
    return is_media_address(text, settings().media_hosts)


def check_links(field: str, value: object) -> None:
    """Raise `InvalidPush` for a forbidden address in a part of a push, naming its full path."""
    for path, key, item in _items(field, value):
        if key == PAYLOAD:
            check_payload(path, payload_of(item))
        elif not isinstance(item, str) or key in TEXT_KEYS:
            continue
        elif key in MEDIA_KEYS:
            if not is_media(item):
                raise InvalidPush(path, MEDIA)
        elif (key == "deeplink" or _is_address(item)) and not is_link(item):
            raise InvalidPush(path, A_LINK)


def check_payload(field: str, value: object) -> None:
    """... in the app's own data, where `http://` and plain texts are allowed."""
    known = settings().link_schemes | DATA
    for path, _, item in _items(field, value):
        if isinstance(item, str):
            scheme = _scheme_of(item)
            if (scheme and scheme not in known) or _hidden_scheme_of(item) in NO_APPS - DATA:
                raise InvalidPush(path, A_LINK)


def payload_of(value: Any) -> Any:
    """The content of a custom payload, which may be a JSON text; None if that is not JSON."""
    try:
        return json.loads(value, parse_constant=_refused) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return None


def _refused(constant: str) -> None:
    """Reject NaN and Infinity, which Python's parser accepts and JSON does not have."""
    raise ValueError(constant)


def _items(
    path: str, value: Any, key: str = "", levels: int = MAX_LEVELS
) -> Iterator[tuple[str, str, Any]]:
    """Every value inside `value`, with its path and the key that holds it or its list."""
    yield path, key, value
    items: list[tuple[str, str, Any]] = []
    if isinstance(value, Mapping) and key != PAYLOAD:
        names = ((str(name), item) for name, item in value.items())
        items = [(f"{path}.{name[:MAX_NAME]}", name, item) for name, item in names]
    elif isinstance(value, list | tuple):
        items = [(f"{path}[{number}]", key, item) for number, item in enumerate(value)]
    if items and not levels:
        raise InvalidPush(path.partition(".")[0], "is nested too deeply")
    for inner, name, item in items:
        yield from _items(inner, item, name, levels - 1)


def _is_address(text: str) -> bool:
    return _scheme_of(text) is not None or _hidden_scheme_of(text) in NO_APPS


def _scheme_of(text: str) -> str | None:
    """`myapp` for `myapp://x`; None if it is not such an address."""
    found = re.match(rf"\s*({SCHEME})://", text)
    return found[1].lower() if found else None


def _hidden_scheme_of(text: str) -> str | None:
    """`javascript` for ` java\\nscript:x`, as browsers read it."""
    found = re.match(rf"\s*({SCHEME}):", re.sub(r"[\x00-\x1f\x7f]", "", text))
    return found[1].lower() if found else None
