"""What an error of Google's client means: as one of our own."""

from typing import Any

import google.auth
import pytest
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, TransportError

from batchpush.errors import LedgerUnavailable
from batchpush.google.clients import asked, firestore_client, queried
from batchpush.google.firestore import FirestoreRefused, WriteConflict

DOCUMENT = "projects/p/databases/(default)/documents/campaigns/c1"


@pytest.mark.parametrize(
    ("error", "raised", "says"),
    [
        (
            exceptions.AlreadyExists(f"Document already exists: {DOCUMENT}"),
            WriteConflict,
            "ALREADY",
        ),
        (
            exceptions.FailedPrecondition("the stored version (1) does not"),
            WriteConflict,
            "FAILED_PRE",
        ),
        (
            exceptions.NotFound(f"No document to update: {DOCUMENT}"),
            WriteConflict,
            "NOT_FOUND: No doc",
        ),
        (exceptions.InvalidArgument("maximum entity size"), FirestoreRefused, "maximum entity"),
        (exceptions.OutOfRange("no"), FirestoreRefused, "OUT_OF_RANGE: no"),
        (exceptions.ServiceUnavailable("no"), LedgerUnavailable, "Firestore: ServiceUnavailable"),
        (exceptions.InternalServerError("no"), LedgerUnavailable, "InternalServerError"),
        (exceptions.RetryError("no", exceptions.Aborted("no")), LedgerUnavailable, "Aborted"),
        (exceptions.PermissionDenied("Missing"), LedgerUnavailable, "--role=roles/datastore.user"),
        (
            exceptions.NotFound("The database (default) does not exist"),
            LedgerUnavailable,
            "gcloud firestore databases create",
        ),
        (DefaultCredentialsError("no"), LedgerUnavailable, "application-default login"),
        (TransportError("no"), LedgerUnavailable, "Firestore: TransportError"),
    ],
)
async def test_an_error_of_google_s_client_is_one_of_our_own(
    error: Exception, raised: type[Exception], says: str
) -> None:
    async def fails(_: Any) -> None:
        raise error

    with pytest.raises(raised) as translated:
        await asked("Commit", fails)
    assert says in str(translated.value)


async def test_an_index_that_is_missing_is_told_with_the_command() -> None:
    class Query:
        async def get(self, **_: Any) -> None:
            raise exceptions.FailedPrecondition("The query requires an index.")

    with pytest.raises(LedgerUnavailable, match="firebase deploy --only firestore:indexes"):
        await queried(Query())


def test_a_client_without_credentials_is_trouble_that_may_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*_: object, **__: object) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr(google.auth, "default", none)
    firestore_client.cache_clear()
    with pytest.raises(LedgerUnavailable, match="application-default login"):
        firestore_client("(default)")
