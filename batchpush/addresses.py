"""Checks the addresses in a push that a phone, or Batch on its behalf, may open.

A user of the app may have written them, so none may lead into a private network, show a different
host from the one it opens, or run as code. Anyone can still make their own domain resolve to any
address: only a list of hosts, `MEDIA_HOSTS`, rules that out.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address
from urllib.parse import urlsplit

MAX_ADDRESS = 2048  # characters

# The last label of names that only have a meaning inside a network: those reserved for it, see
# https://www.iana.org/assignments/special-use-domain-names, and those in common use.
SPECIAL_USE = {"alt", "arpa", "invalid", "local", "localhost", "onion", "test"}
OF_NETWORKS = {"corp", "home", "internal", "intranet", "lan", "localdomain", "private", "workgroup"}
OF_CLUSTERS = {"cluster", "consul", "default", "docker", "i2p", "kubernetes", "svc"}
PRIVATE = frozenset(SPECIAL_USE | OF_NETWORKS | OF_CLUSTERS)

# Public domains whose names resolve to addresses of a private network, or of the local machine.
WILDCARDS = {"backname.io", "local-ip.co", "local-ip.sh", "nip.io", "plex.direct", "sslip.io"}
MORE_WILDCARDS = {"1u.ms", "ip6.name", "ipq.co", "rbndr.us", "traefik.me", "xip.io", "xip.name"}
LOOPBACKS = {"ddev.site", "docksal.site", "fuf.me", "lacolhost.com", "lndo.site", "local.gd"}
MORE_LOOPBACKS = {"localh.st", "localho.st", "localtest.me", "lvh.me", "vcap.me"}
OF_ROUTERS = {"fritz.box", "mshome.net", "routerlogin.net", "tplinkwifi.net", "ts.net"}
OF_CLOUDS = {"internal.cloudapp.net", "metadata.tencentyun.com", "metadata.platformequinix.com"}
INSIDE = frozenset(WILDCARDS | MORE_WILDCARDS | LOOPBACKS | MORE_LOOPBACKS | OF_ROUTERS | OF_CLOUDS)
# An IPv4 address within a name, as such services write it: `10.0.0.1.`, `app-192-168-0-1.`
EMBEDDED = re.compile(r"(?<![^.-])(?=(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?![^.-]))")

# Schemes that the phone handles itself: as code, as a file, or as part of another app.
OF_THE_WEB = {"about", "blob", "data", "ftp", "http", "javascript", "vbscript", "ws", "wss"}
OF_THE_PHONE = {"android-app", "content", "file", "intent", "mailto", "resource", "sms", "tel"}
OF_BROWSERS = {"chrome", "filesystem", "jar", "view-source"}
NO_APPS = OF_THE_WEB | OF_THE_PHONE | OF_BROWSERS
SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*"


def is_media_address(text: str, hosts: Collection[str] = ()) -> bool:
    """Whether it is `https://` on one of the hosts, or on any public host name if none are given.

    No IP address, no credentials, and no port but 443. `.example.com` among the hosts allows all
    names that end in it.
    """
    if not (_is_plain(text) and text.startswith("https://")):
        return False
    host, port = _host_and_port(text)
    return port in (None, 443) and is_public(host) and (not hosts or _is_among(host, hosts))


def is_deep_link(text: str, schemes: Collection[str]) -> bool:
    """Whether it is `https://` or has one of the apps' lower-case schemes, such as `myapp`."""
    scheme, is_link, _ = text.partition("://")
    if not (is_link and _is_plain(text) and re.fullmatch(SCHEME, scheme)):
        return False
    if scheme.lower() == "https":
        # ASCII only, so that no letter passes for another; international names are xn--...
        return bool(re.fullmatch(r"[a-z0-9._:-]+", _host_and_port(text)[0]))
    return scheme.lower() in schemes and is_scheme_of_an_app(scheme)


def is_scheme_of_an_app(text: str) -> bool:
    """Whether it may be the scheme of some app."""
    return bool(re.fullmatch(SCHEME, text)) and text.lower() not in NO_APPS | {"https"}


def is_public(host: str) -> bool:
    """Whether the host name is valid everywhere and not known to lead into a private network."""
    name = host.removesuffix(".")
    labels = name.split(".")
    return (
        len(labels) > 1
        and all(re.fullmatch(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", label) for label in labels)
        and not labels[-1][0].isdigit()  # every way to write an IP address has one there
        and labels[-1] not in PRIVATE
        and not any(name == domain or name.endswith(f".{domain}") for domain in INSIDE)
        and all(map(_is_of_the_internet, EMBEDDED.findall(name)))
    )


def _is_plain(text: str) -> bool:
    """Whether every parser reads the same address: nothing invisible, no spaces or backslashes."""
    is_short = len(text) <= MAX_ADDRESS
    return is_short and text.isprintable() and not re.search(r"[ \\]", text)


def _host_and_port(address: str) -> tuple[str, int | None]:
    """The host is empty if there is none, or if the address has credentials."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return "", None
    return ("", None) if "@" in parts.netloc else (parts.hostname or "", port)


def _is_among(host: str, hosts: Collection[str]) -> bool:
    name = host.removesuffix(".")
    return any(name == each or (each[:1] == "." and name.endswith(each)) for each in hosts)


def _is_of_the_internet(parts: tuple[str, str, str, str]) -> bool:
    octets = [int(part) for part in parts]
    return max(octets) > 255 or IPv4Address(bytes(octets)).is_global
