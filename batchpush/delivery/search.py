"""Finds records by whom and what they are about, newest first, with queries that indexes answer.

A time in an index limits how many records can be written per second, unless something that differs
from record to record comes before it. So a person and a document have an index with the time;
states and functions have one with the day.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.waiting import name_of
from batchpush.google.firestore import (
    ARRAY_CONTAINS,
    EQUAL,
    GREATER_THAN_OR_EQUAL,
    IN,
    LESS_THAN_OR_EQUAL,
    Condition,
    Query,
)

# Almost all records are in these states. The others are few, so no index narrows them down.
USUAL = frozenset({DeliveryState.SENT, DeliveryState.OBSOLETE})


@dataclass(frozen=True, kw_only=True)
class Search:
    """What to look for; `person` is a user id, found if RECIPIENT_INDEX_DAYS is set."""

    states: Collection[DeliveryState]
    person: str | None = None
    document: str | None = None
    function: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_newest_first(self) -> bool:
        """Whether the database sorts the results by time, or by day."""
        return self._conditions()[1] != "__name__"

    def query(self, collection: str, after: Record | None = None, *, limit: int) -> Query:
        """The query for what an index can tell apart, in pages of `limit`.

        `after` is the last record seen.
        """
        where, order_by = self._conditions()
        query = Query(collection, where, order_by, descending=order_by != "__name__", limit=limit)
        if after is None:
            return query
        value = None if order_by == "__name__" else getattr(after, order_by)
        return replace(query, from_value=value, begins_at=after.id, itself=False)

    def _conditions(self) -> tuple[list[Condition], str]:
        """The conditions, and the field that sorts the results."""
        if self.person is not None:
            name = name_of("custom_ids", self.person)
            return [("people", ARRAY_CONTAINS, name), *self._within("created_at")], "created_at"
        if self.document is not None:
            return [("document", EQUAL, self.document), *self._within("created_at")], "created_at"
        states: Condition = ("state", IN, sorted(state.value for state in self.states))
        if self.function is not None:
            return [("function", EQUAL, self.function), states, *self._within("day")], "day"
        if USUAL & set(self.states):
            return [states, *self._within("day")], "day"
        return [states], "__name__"

    def _within(self, field: str) -> list[Condition]:
        limits = ((GREATER_THAN_OR_EQUAL, self.since), (LESS_THAN_OR_EQUAL, self.until))
        return [
            (field, operator, limit.date().isoformat() if field == "day" else limit)
            for operator, limit in limits
            if limit is not None
        ]

    def matches(self, record: Record) -> bool:
        """Whether a record that the query returned is one to show."""
        return (
            record.state in self.states
            and self.function in (None, record.function)
            and self.document in (None, record.document)
            and (self.since is None or record.created_at >= self.since)
            and (self.until is None or record.created_at <= self.until)
        )
