"""Texts in other words, without a deployment: the documents `push_texts/{language}`.

Handlers say them in place of their own. A process reads all of them once a minute, and what it read
last is used while Firestore does not answer: wording must not be a reason to lose or delay a push.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.documents import Document
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished
from batchpush.events.change import Change
from batchpush.google.firestore import Firestore, Query, WriteConflict, translated
from batchpush.logs import log
from batchpush.pushes.wording import Wording

COLLECTION = "push_texts"
STATE = "delivery/state"  # below the document: what became of it
MAX_AGE = timedelta(minutes=1)
READ_WITHIN = 2.0  # seconds
MAX_DOCUMENTS = 100
MAX_PROBLEMS = 100  # in the state document, and characters of each
MAX_PROBLEM = 300


class TextsState(Enum):
    """What became of a document."""

    APPLIED = "APPLIED"  # every text is used
    REFUSED = "REFUSED"  # some texts are wrong; the others are used
    OFF = "OFF"  # none is used: the setting is off
    ABSENT = "ABSENT"  # there is no document


Fields = Mapping[str, Any]
Reader = Callable[[Document], Wording]  # the usable texts of a document, and what is wrong

_in_use: ContextVar[Mapping[str, Fields]] = ContextVar("push_texts", default={})  # noqa: B039 - read only


def push_texts(language: str) -> Fields:
    """The fields of the language's document, for the event being handled; unchecked."""
    return _in_use.get().get(language, {})


@dataclass
class PushTexts:
    """The documents as this process read them last; `client` is called on first use."""

    client: Callable[[], Firestore]
    now: Callable[[], datetime]
    _documents: Mapping[str, Fields] = field(default_factory=dict)
    _read_at: datetime | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def use(self) -> None:
        """Make `push_texts` return them for the rest of this event."""
        if self._is_old():
            async with self._lock:  # so that of many events one reads
                if self._is_old():
                    await self._read()
        _in_use.set(self._documents)

    def _is_old(self) -> bool:
        return self._read_at is None or self.now() - self._read_at >= MAX_AGE

    async def _read(self) -> None:
        asked_at = self.now()
        try:
            async with asyncio.timeout(READ_WITHIN):
                query = Query(COLLECTION, fields=(), limit=MAX_DOCUMENTS)
                found = await self.client().find(query)
        except Exception as error:  # noqa: BLE001 - whatever it is, the push goes out
            log("WARNING", "texts.kept", error=error)
        else:
            self._documents = {each.id: each.fields for each in found}
        self._read_at = asked_at


async def check_document(
    change: Change, read: Reader, firestore: Firestore, settings: Settings, now: datetime
) -> None:
    """Write below the document which of its texts are used, and what is wrong with the others.

    It is checked as it is now, whatever event came. Raises `TryAgainLater`.
    """
    path = f"{change.path}/{STATE}"
    with translated():
        stored = await firestore.read(change.path, path)
    document, state = stored.get(change.path), stored.get(path)
    words = read(Document(change.path, document.fields)) if document else None
    fields = state_of(words, is_on=settings.push_texts) | {"updated_at": now}
    try:
        with translated():
            version = state.version if state else None
            await firestore.commit([firestore.replace(path, fields, version)])
    except WriteConflict:
        raise DeliveryUnfinished("the texts were changed again") from None
    if fields["problems"]:
        log("WARNING", "texts.refused", data={"problems": fields["problems"]})


def state_of(words: Wording | None, is_on: bool) -> dict[str, Any]:
    """The fields of the state document; `words` is None if the document is deleted."""
    if words is None:
        return {"state": TextsState.ABSENT.value, "texts": [], "problems": []}
    problems = [f"{key}: {problem}" if key else problem for key, problem in words.problems.items()]
    state = TextsState.REFUSED if problems else TextsState.APPLIED
    return {
        "state": (state if is_on else TextsState.OFF).value,
        "texts": sorted(words.texts),
        "problems": [each[:MAX_PROBLEM] for each in sorted(problems)[:MAX_PROBLEMS]],
    }
