"""What trouble with Firestore means for campaigns, articles and results: one of our own errors."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

import main  # noqa: F401 - the functions that a project calls
from batchpush.campaigns.articles import Newsroom
from batchpush.campaigns.state import Publication
from batchpush.campaigns.stats import Results
from batchpush.campaigns.store import AppEntry, Publications
from batchpush.environment import Settings
from batchpush.errors import LedgerRefused, LedgerUnavailable, TryAgainLater
from batchpush.google.firestore import (
    Firestore,
    FirestoreMisconfigured,
    FirestoreRefused,
    FirestoreUnavailable,
    WriteConflict,
)
from batchpush.testing import Project
from batchpush.testing.memory import Memory, Operation
from handlers.campaigns import campaign
from tests.events import created
from tests.publishing import sale

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
    known = await publications.write(new, Publication(revision=1))
    with pytest.raises(WriteConflict):
        await publications.write(new, Publication(revision=1))
    second = Publication(revision=2)
    assert (await publications.write(known, second)).publication == second
    with pytest.raises(WriteConflict):
        await publications.write(known, second)


async def test_a_write_of_a_state_that_is_repeated_is_known_as_ours() -> None:
    memory = Memory()
    firestore = Firestore(memory)

    async def repeated(name: str, operation: Operation) -> Any:
        return operation() if name == "read" else (operation(), operation())[1]

    memory.strike = repeated
    publications = Publications(lambda: firestore)
    first, second = (Publication(revision=number) for number in (1, 2))
    known = await publications.write(AppEntry(STATE, Publication()), first)
    assert known.publication == first
    assert (await publications.write(known, second)).publication == second
    assert memory.operations == ["claim", "read", "record", "read"]


def project(answer: httpx.Response) -> Project:
    made = Project(None, None, None, BATCH_APPS="ios=A")
    made.batch.answer = answer
    return made


async def state(made: Project) -> dict[str, Any]:
    return (await made.firestore.read(STATE))[STATE].fields


async def test_an_edit_that_came_while_results_were_pulled_is_done_by_the_redelivery() -> None:
    made = project(httpx.Response(201, json={"campaign_token": "t"}))
    await made.write("campaigns/c1", sale(made.clock))
    pull = made.worker.pull()
    (entry,) = await pull.publications.with_stats_due(made.clock.now() + timedelta(days=3), 10)

    async def pulled_first(name: str, operation: Operation) -> Any:
        if name not in ("read", "query"):
            made.memory.strike = before
            planned = replace(entry.publication, revision=entry.publication.revision + 1)
            await pull.publications.write(entry, planned)
        return operation()

    before, made.memory.strike = made.memory.strike, pulled_first
    with pytest.raises(TryAgainLater):
        await made.write("campaigns/c1", sale(made.clock, messages=[]))
    await made.worker.publisher.publish("campaigns/c1", campaign)
    assert (await state(made))["state"] == "REFUSED"


async def test_words_of_batch_that_firestore_cannot_store_are_no_obstacle() -> None:
    refusal = rb'{"code": 31, "type": "MALFORMED_PARAMETER", "message": "name: \ud83c"}'
    made = project(httpx.Response(400, content=refusal))
    await made.write("campaigns/c1", sale(made.clock))
    stored = await state(made)
    assert (stored["state"], stored["error"]) == ("REFUSED", "31 MALFORMED_PARAMETER: name: ?")
    assert len(made.batch.calls) == 1


async def test_a_token_that_firestore_cannot_store_is_none() -> None:
    made = project(httpx.Response(201, content=rb'{"campaign_token": "\ud83c"}'))
    with pytest.raises(TryAgainLater):
        await made.write("campaigns/c1", sale(made.clock))
    assert (await state(made))["state"] == "RETRY"
