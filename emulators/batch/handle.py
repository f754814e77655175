"""How a test starts the Batch emulator, reads its journal and scripts faults."""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from emulators.batch.server import create_app
from emulators.serving import Handle, in_background

POLL_SECONDS = 0.01


class Batch(Handle):
    def accept_rest_keys(self, *keys: str) -> None:
        """Accept only these REST keys from now on; without any, accept all."""
        self._request("PUT", "/__rest_keys", list(keys))

    def campaigns(self) -> list[dict[str, Any]]:
        """Every campaign, oldest first, including deleted ones; due ones have been sent."""
        campaigns: list[dict[str, Any]] = self._request("GET", "/__campaigns")
        return campaigns

    def add_dashboard_campaign(self, app_key: str, body: dict[str, Any]) -> str:
        """Create a campaign as if in Batch's dashboard; returns its token."""
        token: str = self._request("POST", f"/__campaigns/{app_key}", body)["campaign_token"]
        return token

    def clear_campaigns(self) -> None:
        self._request("DELETE", "/__campaigns")

    def script_stats(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Set the statistics of a campaign token, or of a group_id in every app, until `clear()`.

        A row has a `date` and counters. A missing counter is 0, except `sent` of a group, which is
        then the number accepted on that day.
        """
        self._request("PUT", f"/__stats/{name}", rows)

    def wait_for_calls(self, count: int, timeout: float = 60) -> list[dict[str, Any]]:
        """The journal, once it has this many calls; an AssertionError shows what arrived."""
        deadline = time.monotonic() + timeout
        while self._request("GET", "/__calls/count")["count"] < count:
            if time.monotonic() > deadline:
                calls = self.calls()
                came = "\n".join(json.dumps(call, ensure_ascii=False) for call in calls)
                raise AssertionError(
                    f"{len(calls)} of {count} calls arrived in {timeout} s:\n{came or 'nothing'}"
                )
            time.sleep(POLL_SECONDS)
        return self.calls()


@contextmanager
def running(
    apps: Mapping[str, str] | None = None,
    rest_keys: Collection[str] = (),
    lenient: bool = False,
) -> Iterator[Batch]:
    """A separate emulator on a free loopback port, until the block ends."""
    with in_background(create_app(apps or {}, rest_keys, lenient)) as url:
        yield Batch(url)
