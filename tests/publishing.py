"""What the tests of campaigns share: an editor who writes documents, and publishers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.requests import Caller
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.campaigns.reconcile import Publisher
from batchpush.campaigns.store import Publications
from batchpush.environment import Settings
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore, Transport
from batchpush.testing import ManualClock
from batchpush.timing import Clock
from emulators.batch import Batch
from emulators.batch.server import create_app
from emulators.serving import in_background
from tests.deliveries import REST_KEY, TIMING

# Not the suite's project, whose functions would publish what the tests write.
PROJECT = "demo-campaigns"


@contextmanager
def batch_at(clock: ManualClock, **apps: str) -> Iterator[Batch]:
    """A Batch emulator that runs on the test's clock."""
    with in_background(create_app(apps, [REST_KEY], now=clock.now)) as url:
        yield Batch(url)


async def _read_key() -> RestKey:
    return RestKey(REST_KEY)


def publisher_for(
    url: str, clock: ManualClock, transport: Transport | None = None, **environment: str
) -> Publisher:
    """A publisher against a Batch emulator, and the Firestore emulator or this transport."""
    settings = Settings.from_environment(
        {"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY", "BATCH_API_URL": url} | environment
    )
    client = BatchClient(settings, TIMING, RestKeyCache(_read_key))
    firestore = Firestore(transport or Connection(project=PROJECT))
    return Publisher(
        Publications(lambda: firestore),
        Caller(client, Clock(clock.now, lambda: 1.0, clock.sleep)),
        settings,
        TIMING,
    )


def sale(clock: ManualClock, **fields: Any) -> dict[str, Any]:
    """A campaign that is due tomorrow."""
    return {
        "name": "Summer sale",
        "live": True,
        "push_time": clock.now() + timedelta(days=1),
        "messages": {"en": {"title": "Sale", "body": "Half price"}},
    } | fields


def said(campaign: Mapping[str, Any]) -> str:
    """The first text of a campaign in the emulator."""
    return str(campaign["body"]["messages"][0]["body"])


def is_there(campaign: Mapping[str, Any]) -> bool:
    return bool(campaign["state"] != "deleted")
