"""What trouble with Firestore means for campaigns, articles and results: one of our own errors."""

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from batchpush.campaigns.articles import Newsroom
from batchpush.campaigns.state import Publication
from batchpush.campaigns.stats import Results
from batchpush.campaigns.store import AppEntry, Publications
from batchpush.environment import Settings
from batchpush.errors import LedgerRefused, LedgerUnavailable
from batchpush.google.firestore import (
    Firestore,
    FirestoreMisconfigured,
    FirestoreRefused,
    FirestoreUnavailable,
    WriteConflict,
)
from batchpush.testing.memory import Memory, Operation
from tests.events import created

STATE = "campaigns/c1/batch/ios"
NOW = datetime(2026, 5, 4, tzinfo=UTC)
SETTINGS = Settings.from_environment({"BATCH_APPS": "ios=A"})


async def unfinished(firestore: Firestore) -> None:
    async for _ in Publications(lambda: firestore).unfinished():
        pass


OPERATIONS: dict[str, Callable[[Firestore], Awaitable[Any]]] = {
    "look": lambda f: Publications(lambda: f).look("campaigns/c1", ["ios"]),
    "version": lambda f: Publications(lambda: f).version("campaigns/c1"),
    "write": lambda f: Publications(lambda: f).write(AppEntry(STATE, Publication()), Publication()),
    "taken": lambda f: Publications(lambda: f).taken({"t"}),
    "unfinished": unfinished,
    "due": lambda f: Publications(lambda: f).with_stats_due(NOW, 1),
    "keep": lambda f: Results(lambda: f, "d").keep({f"{STATE}/stats/2026-05-04": {"sent": 1}}),
    "groups": lambda f: Results(lambda: f, "d").group_ids(),
    "since": lambda f: Results(lambda: f, "d").since(date(2026, 5, 4)),
    "article": lambda f: Newsroom(lambda: f, SETTINGS).announce(
        created("articles/a1", {}), lambda _: True, lambda _: {}
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (FirestoreUnavailable("UNAVAILABLE"), LedgerUnavailable),
        (FirestoreMisconfigured("no index. Fix it with: firebase deploy"), LedgerUnavailable),
        (FirestoreRefused("INVALID_ARGUMENT: maximum entity size"), LedgerRefused),
    ],
)
async def test_trouble_with_firestore_is_one_of_our_own_errors_with_its_words(
    operation: Callable[[Firestore], Awaitable[Any]], error: Exception, raised: type[Exception]
) -> None:
    memory = Memory()

    async def fail(*_: object) -> None:
        raise error

    memory.strike = fail
    with pytest.raises(raised) as translated:
        await operation(Firestore(memory))
    assert str(translated.value) == f"Firestore: {error}"


async def test_a_state_that_somebody_else_wrote_first_is_theirs() -> None:
    firestore = Firestore(Memory())
    publications = Publications(lambda: firestore)
    new = AppEntry(STATE, Publication())
    known = await publications.write(new, Publication(owner="first", revision=1))
    with pytest.raises(WriteConflict):
        await publications.write(new, Publication(owner="second", revision=1))
    second = Publication(owner="second", revision=2)
    assert (await publications.write(known, second)).publication == second
    with pytest.raises(WriteConflict):
        await publications.write(known, Publication(owner="third", revision=2))


async def test_a_write_of_a_state_that_is_repeated_is_known_as_ours() -> None:
    memory = Memory()
    firestore = Firestore(memory)

    async def repeated(name: str, operation: Operation) -> Any:
        return operation() if name == "read" else (operation(), operation())[1]

    memory.strike = repeated
    publications = Publications(lambda: firestore)
    first, second = (Publication(owner="ann", revision=number) for number in (1, 2))
    known = await publications.write(AppEntry(STATE, Publication()), first)
    assert known.publication == first
    assert (await publications.write(known, second)).publication == second
    assert memory.operations == ["claim", "read", "record", "read"]
