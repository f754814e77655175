"""As a script that works on the first day: the SDK, and `requests.post` for each app."""

import hashlib
import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import firebase_admin
import requests
from firebase_admin import firestore
from firebase_functions import firestore_fn
from in_words import bodies  # type: ignore[import-not-found] # a neighbour in its folder

APPS = {"ios": os.environ["IOS_KEY"], "android": os.environ["ANDROID_KEY"]}

firebase_admin.initialize_app()


@firestore_fn.on_document_created(document="pushes/{push_id}")
def outbox(event: Any) -> None:
    deliver("outbox", event, [json.dumps(event.data.to_dict())], is_told=True)


@firestore_fn.on_document_created(document="conversations/{conversation_id}/messages/{message_id}")
def new_message(event: Any) -> None:
    client, message = firestore.client(), event.data.to_dict()
    conversation = client.document(f"conversations/{event.params['conversation_id']}").get()
    user_ids = [message["sender_id"], *conversation.get("member_ids")]
    users = client.get_all([client.document(f"users/{user_id}") for user_id in user_ids])
    deliver("new_message", event, bodies(message, {user.id: user.to_dict() for user in users}))


def deliver(function: str, event: Any, bodies: list[str], is_told: bool = False) -> None:
    now = datetime.now(UTC)
    name = hashlib.sha256(f"{function}\n{event.source}\n{event.id}".encode()).hexdigest()
    client = firestore.client()
    record = client.collection("peer_naive").document(name)
    claim = record.create(
        {
            "function": function,
            "source": event.source,
            "event_id": event.id,
            "document": event.document,
            "state": "CLAIMED",
            "owner": secrets.token_hex(8),
            "created_at": now,
            "lease_until": now + timedelta(seconds=60),
            "expire_at": now + timedelta(days=30),
            "bodies": bodies,
            "calls": [{"app": app, "state": "pending"} for _ in bodies for app in APPS],
        }
    )
    calls = []
    for body in bodies:
        for app, key in APPS.items():
            reply = requests.post(
                f"{os.environ['BATCH_API_URL']}/1.1/{key}/transactional/send",
                data=body.encode(),
                headers={
                    "Content-Type": "application/json",
                    "X-Authorization": os.environ["REST_KEY"],
                },
                timeout=10,
            )
            state = "accepted" if reply.status_code == 201 else "pending"
            calls.append({"app": app, "state": state, "status": reply.status_code})
    state = "SENT" if all(call["state"] == "accepted" for call in calls) else "RETRY"
    end = {"state": state, "calls": calls, "updated_at": datetime.now(UTC)}
    batch = client.batch()
    batch.update(record, end, option=client.write_option(last_update_time=claim.update_time))
    if is_told:
        told = {"function": function, "apps": calls} | end
        batch.set(client.document(f"{event.document}/delivery/state"), told)
    batch.commit()
    if state != "SENT":
        raise RuntimeError("not every call is accepted yet")
