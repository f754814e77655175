"""The link that a tap on the push opens."""

from urllib.parse import quote

from batchpush import settings


def deeplink(*segments: str) -> str | None:
    """`deeplink("conversations", "c1")` -> `myapp://conversations/c1`; None without a base."""
    base = settings().deeplink_base
    if not base:
        return None
    separator = "" if base.endswith("/") else "/"
    return base + separator + "/".join(quote(segment, safe="") for segment in segments)
