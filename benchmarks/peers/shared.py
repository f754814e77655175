"""As somebody writes it who has measured once: own decoding, one client of each kind, threads."""

import functools
import hashlib
import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import functions_framework
import httpx
from google.cloud import firestore
from google.events.cloud.firestore import DocumentEventData
from in_words import bodies  # type: ignore[import-not-found] # a neighbour in its folder

APPS = {"ios": os.environ["IOS_KEY"], "android": os.environ["ANDROID_KEY"]}


@functools.cache
def http() -> httpx.Client:
    return httpx.Client(
        base_url=os.environ["BATCH_API_URL"],
        headers={"Content-Type": "application/json", "X-Authorization": os.environ["REST_KEY"]},
        limits=httpx.Limits(max_connections=160, max_keepalive_connections=160),
        timeout=10,
    )


@functools.cache
def database() -> firestore.Client:
    return firestore.Client()


@functions_framework.cloud_event
def outbox(event: Any) -> None:
    deliver("outbox", event, [json.dumps(written(event), ensure_ascii=False)], is_told=True)


@functions_framework.cloud_event
def new_message(event: Any) -> None:
    message = written(event)
    _, conversation_id, *_ = event["document"].split("/")
    conversation = database().document(f"conversations/{conversation_id}").get()
    user_ids = [message["sender_id"], *conversation.get("member_ids")]
    users = database().get_all([database().document(f"users/{user_id}") for user_id in user_ids])
    deliver("new_message", event, bodies(message, {user.id: user.to_dict() for user in users}))


def written(event: Any) -> dict[str, Any]:
    return plain(DocumentEventData.pb().FromString(event.data).value.fields)


def deliver(function: str, event: Any, bodies: list[str], is_told: bool = False) -> None:
    now = datetime.now(UTC)
    name = hashlib.sha256(f"{function}\n{event['source']}\n{event['id']}".encode()).hexdigest()
    record = database().collection("peer_shared").document(name)
    claim = record.create(
        {
            "function": function,
            "source": event["source"],
            "event_id": event["id"],
            "document": event["document"],
            "state": "CLAIMED",
            "owner": secrets.token_hex(8),
            "created_at": now,
            "lease_until": now + timedelta(seconds=60),
            "expire_at": now + timedelta(days=30),
            "bodies": bodies,
            "calls": [{"app": app, "state": "pending"} for _ in bodies for app in APPS],
        }
    )
    calls = [send(app, key, body) for body in bodies for app, key in APPS.items()]
    state = "SENT" if all(call["state"] == "accepted" for call in calls) else "RETRY"
    end = {"state": state, "calls": calls, "updated_at": datetime.now(UTC)}
    batch = database().batch()
    option = database().write_option(last_update_time=claim.update_time)
    batch.update(record, end, option=option)
    if is_told:
        told = {"function": function, "apps": calls} | end
        batch.set(database().document(f"{event['document']}/delivery/state"), told)
    batch.commit()
    if state != "SENT":
        raise RuntimeError("not every call is accepted yet")


def send(app: str, key: str, body: str) -> dict[str, Any]:
    reply = http().post(f"/1.1/{key}/transactional/send", content=body.encode())
    state = "accepted" if reply.status_code == 201 else "pending"
    return {"app": app, "state": state, "status": reply.status_code}


def plain(fields: Any) -> dict[str, Any]:
    return {name: plain_value(value) for name, value in fields.items()}


def plain_value(value: Any) -> Any:
    kind = value.WhichOneof("value_type")
    if kind == "map_value":
        return plain(value.map_value.fields)
    if kind == "array_value":
        return [plain_value(item) for item in value.array_value.values]
    return getattr(value, kind)
