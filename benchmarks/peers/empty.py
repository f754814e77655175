"""The least that the Firebase SDK serves, for its cold start."""

from typing import Any

from firebase_functions import firestore_fn


@firestore_fn.on_document_created(document="pushes/{push_id}")
def outbox(event: Any) -> None:
    pass
