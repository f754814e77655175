"""Addresses in a push: what a phone, or Batch in its place, may be sent to.

A user of the app may have written them, so none leads into somebody's private network, shows
another host than it goes to, or runs as code.
"""

import re
from urllib.parse import urlsplit

PRIVATE = frozenset(  # the last label of names that mean something only inside a network
    {"corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private"}
)
# Schemes that the phone takes itself: as code, as a file, as a part of any app.
OF_THE_WEB = {"about", "blob", "data", "ftp", "http", "javascript", "vbscript", "ws", "wss"}
OF_THE_PHONE = {"android-app", "content", "file", "intent", "mailto", "resource", "sms", "tel"}
OF_BROWSERS = {"chrome", "filesystem", "jar", "view-source"}
NO_APPS = OF_THE_WEB | OF_THE_PHONE | OF_BROWSERS


def is_media_address(text: str) -> bool:
    """`https://`, on a host with a public name: no IP address, no user and password."""
    return _is_plain(text) and text.startswith("https://") and _is_public(_host(text))


def is_deep_link(text: str) -> bool:
    """`https://`, or the scheme of an app, such as `myapp://`."""
    scheme, is_link, _ = text.partition("://")
    if not (is_link and _is_plain(text) and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme)):
        return False
    return bool(_host(text)) if scheme.lower() == "https" else scheme.lower() not in NO_APPS


def _is_plain(text: str) -> bool:
    """Whether every reader takes it for the same address: nothing invisible, no blanks."""
    return text.isprintable() and not re.search(r"[ \\]", text)


def _host(address: str) -> str | None:
    """The host; None where there is none, or a user and password before it."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return None
    return None if "@" in parts.netloc else parts.hostname


def _is_public(host: str | None) -> bool:
    """A name with a dot; its last label is no number, as it is in all ways to write an IP."""
    labels = (host or "").removesuffix(".").split(".")
    return (
        len(labels) > 1
        and all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", label) for label in labels)
        and not labels[-1][0].isdigit()
        and labels[-1] not in PRIVATE
        and labels[-2:] != ["home", "arpa"]
    )
