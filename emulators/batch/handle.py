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

    def pushes(self) -> list[dict[str, Any]]:
        """The calls of the journal that send a push."""
        return [call for call in self.calls() if call["path"].endswith("/transactional/send")]

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

    def profiles(self) -> list[dict[str, Any]]:
        """The attributes of people: `app`, `id` and `values`."""
        profiles: list[dict[str, Any]] = self._request("GET", "/__profiles")
        return profiles

    def tracked(self) -> list[dict[str, Any]]:
        """The events of people: `app`, `id` and `event`."""
        tracked: list[dict[str, Any]] = self._request("GET", "/__tracked")
        return tracked

    def removals(self, app_key: str) -> list[dict[str, Any]]:
        """The GDPR requests of an app, as Batch lists them."""
        rows: list[dict[str, Any]] = self._request("GET", f"/__gdpr/{app_key}")
        return rows

    def clear_profiles(self) -> None:
        """Forget attributes, events and GDPR requests."""
        self._request("DELETE", "/__profiles")

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
    batch_project: str = "",
) -> Iterator[Batch]:
    """A separate emulator on a free loopback port, until the block ends."""
    app = create_app(apps or {}, rest_keys, lenient, batch_project=batch_project)
    with in_background(app) as url:
        yield Batch(url)
