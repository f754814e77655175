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

APPS = {"ios": os.environ["IOS_KEY"], "android": os.environ["ANDROID_KEY"]}

firebase_admin.initialize_app()


@firestore_fn.on_document_created(document="pushes/{push_id}")
def outbox(event: Any) -> None:
    body = json.dumps(event.data.to_dict())
    now = datetime.now(UTC)
    name = hashlib.sha256(f"outbox\n{event.source}\n{event.id}".encode()).hexdigest()
    client = firestore.client()
    record = client.collection("peer_naive").document(name)
    claim = record.create(
        {
            "function": "outbox",
            "source": event.source,
            "event_id": event.id,
            "document": event.document,
            "state": "CLAIMED",
            "owner": secrets.token_hex(8),
            "created_at": now,
            "lease_until": now + timedelta(seconds=60),
            "expire_at": now + timedelta(days=30),
            "bodies": [body],
            "calls": [{"app": app, "state": "pending"} for app in APPS],
        }
    )
    calls = []
    for app, key in APPS.items():
        reply = requests.post(
            f"{os.environ['BATCH_API_URL']}/1.1/{key}/transactional/send",
            data=body,
            headers={"Content-Type": "application/json", "X-Authorization": os.environ["REST_KEY"]},
            timeout=10,
        )
        state = "accepted" if reply.status_code == 201 else "pending"
        calls.append({"app": app, "state": state, "status": reply.status_code})
    state = "SENT" if all(call["state"] == "accepted" for call in calls) else "RETRY"
    end = {"state": state, "calls": calls, "updated_at": datetime.now(UTC)}
    told = {"function": "outbox", "state": state, "apps": calls, "updated_at": end["updated_at"]}
    batch = client.batch()
    batch.update(record, end, option=client.write_option(last_update_time=claim.update_time))
    batch.set(client.document(f"{event.document}/delivery/state"), told)
    batch.commit()
    if state != "SENT":
        raise RuntimeError("not every call is accepted yet")
