"""Checks Firestore's indexes and TTLs in the file that deploys them, which an app may share."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from batchpush.campaigns.stats import STATS
from batchpush.campaigns.store import STATES
from batchpush.cli.check.findings import Finding, error, ok, warning
from batchpush.delivery.digests import ITEMS
from batchpush.delivery.history import EXPIRES, NOTIFICATIONS, SENDER
from batchpush.delivery.ledger import BURSTS, CHUNKS
from batchpush.pushes.limits import LIMITS

FILE = "firestore.indexes.json"
DELIVERIES = "batch_deliveries"  # by default
OF_COLLECTION, OF_GROUP = "COLLECTION", "COLLECTION_GROUP"


@dataclass(frozen=True)
class Index:
    """Of a collection, or of all collections of that name."""

    collection: str
    fields: tuple[str, ...]  # each with its order, or CONTAINS
    scope: str = OF_COLLECTION

    def __str__(self) -> str:
        return f"{self.collection} by {', '.join(self.fields)}"


TTLS = {
    DELIVERIES: "expire_at",
    CHUNKS: "expire_at",
    ITEMS: "expire_at",
    BURSTS: "expire_at",
    LIMITS: "expire_at",
    NOTIFICATIONS: EXPIRES,
}
# What fails without it.
INDEXES = {
    Index(DELIVERIES, ("people CONTAINS", "created_at DESCENDING")): "deliveries --user",
    Index(DELIVERIES, ("document ASCENDING", "created_at DESCENDING")): "sendlater",
    Index(
        DELIVERIES, ("function ASCENDING", "state ASCENDING", "day DESCENDING")
    ): "deliveries --function",
    Index(DELIVERIES, ("state ASCENDING", "day DESCENDING")): "deliveries",
    Index(DELIVERIES, ("group_id ASCENDING",)): "pull_stats",
    Index(DELIVERIES, ("people_until ASCENDING",)): "sweep",
    Index(DELIVERIES, ("bodies_until ASCENDING",)): "sweep",
    Index(CHUNKS, ("bodies_until ASCENDING",), OF_GROUP): "sweep",
    Index(ITEMS, ("digest ASCENDING", "at DESCENDING")): "digests",
    Index(NOTIFICATIONS, (f"{SENDER} ASCENDING",), OF_GROUP): "erase",
    Index(STATES, ("state ASCENDING",), OF_GROUP): "campaign_sweep",
    Index(STATES, ("campaign_token ASCENDING",), OF_GROUP): "campaign_sweep",
    Index(STATES, ("stats_at ASCENDING",), OF_GROUP): "pull_stats",
    Index(STATS, ("date ASCENDING",), OF_GROUP): "stats",
}


@dataclass(frozen=True)
class Deployed:
    """What a file of indexes says."""

    indexes: frozenset[Index]
    ttls: Collection[tuple[str, str]]
    overridden: Collection[tuple[str, str]]  # fields that Firestore does not index by itself

    @classmethod
    def of(cls, text: str) -> "Deployed":
        """Raises LookupError, TypeError or ValueError for a file that is not one of indexes."""
        content = json.loads(text)
        overrides = [(each, _field(each)) for each in content["fieldOverrides"]]
        own = {
            Index(each["collectionGroup"], _fields(each["fields"]), each["queryScope"])
            for each in content["indexes"]
        }
        of_fields = {
            Index(group, _fields([index | {"fieldPath": field}]), index["queryScope"])
            for override, (group, field) in overrides
            for index in override["indexes"]
        }
        return cls(
            indexes=frozenset(own | of_fields),
            ttls={field for override, field in overrides if override.get("ttl") is True},
            overridden={field for _, field in overrides},
        )

    def has(self, index: Index) -> bool:
        field = (index.collection, index.fields[0].split()[0])
        is_automatic = len(index.fields) == 1 and index.scope == OF_COLLECTION
        return index in self.indexes or (is_automatic and field not in self.overridden)


def _field(override: Mapping[str, Any]) -> tuple[str, str]:
    return override["collectionGroup"], override["fieldPath"]


def _fields(fields: Collection[Mapping[str, Any]]) -> tuple[str, ...]:
    """Without the document's name, by which every index ends; an export of Firestore's says it."""
    return tuple(
        f"{each['fieldPath']} {each.get('arrayConfig') or each['order']}"
        for each in fields
        if each["fieldPath"] != "__name__"
    )


def indexes(file: str, text: str | None, collections: Collection[str]) -> Iterator[Finding]:
    """Check the content of `file`; `collections` are those of the records, one of each project."""
    try:
        deployed = Deployed.of(text or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        yield error("is missing, or not a file of indexes: nothing deletes the records", file)
        return
    without_ttl = [
        f"{field} of {collection}"
        for default, field in TTLS.items()
        for collection in _named(default, collections)
        if (collection, field) not in deployed.ttls
    ]
    if without_ttl:
        says = f"has no ttl on {', '.join(without_ttl)}: these documents are never deleted"
        yield warning(says, file)
    missing = [
        (index, fails)
        for default, fails in INDEXES.items()
        for collection in _named(default.collection, collections)
        if not deployed.has(index := replace(default, collection=collection))
    ]
    for index, fails in missing:
        yield warning(f"has no index of {index}: `{fails}` fails", file)
    if not without_ttl and not missing:
        yield ok("has the indexes, and deletes old delivery records", file)


def _named(default: str, collections: Collection[str]) -> Collection[str]:
    return sorted(set(collections)) if default == DELIVERIES else [default]
