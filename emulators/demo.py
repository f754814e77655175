"""`make demo`: two writes, and the pushes that they become.

    a document --> Firestore --> the function --> Batch

Runs inside the suite. Exits with 1 and names the step that did not happen if a push is missing.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.cloud.firestore import Client

from emulators.batch import Batch

WAIT_SECONDS = 30.0  # the first event starts the function's process

PEOPLE: dict[str, dict[str, Any]] = {
    "users/ann": {"display_name": "Ann", "language": "en"},
    "users/bob": {"display_name": "Bob", "language": "en"},
    "users/zoe": {"display_name": "Zoé", "language": "fr"},
    "conversations/dinner": {"member_ids": ["ann", "bob", "zoe"]},
}


@dataclass(frozen=True)
class Write:
    """A document to write, and the function that it is to call."""

    says: str
    path: str
    fields: Mapping[str, Any]
    function: str


WRITES = (
    Write(
        "Ann writes to Bob and Zoé",
        "conversations/dinner/messages/1",
        {"sender_id": "ann", "text": "Dinner at eight? 🍝"},
        "new_message",
    ),
    Write(
        "Ann asks Zoé to be friends",
        "users/zoe/friend_requests/ann",
        {"status": "pending"},
        "friend_request",
    ),
)


class Missing(Exception):
    """A push did not come; the message names the step that did not happen."""


def main() -> int:
    firestore = Client()
    batch = Batch(os.environ["BATCH_EMULATOR_URL"])
    apps = [entry.partition("=")[0] for entry in os.environ["BATCH_APPS"].split(",")]
    for path, fields in PEOPLE.items():
        firestore.document(path).set(fields)
    try:
        for write in WRITES:
            show(write, firestore, batch, apps)
    except Missing as missing:
        print(f"  {missing}", file=sys.stderr)
        return 1
    print(f"\nAll pushes came. `make dev` keeps this running; the phones are at {batch.url}")
    return 0


def show(write: Write, firestore: Client, batch: Batch, apps: list[str]) -> None:
    """Write the document and print each app's push as it comes."""
    print(f"\n{write.says}:\n  {write.path} {json.dumps(write.fields, ensure_ascii=False)}")
    batch.clear()
    log = Path(os.environ["SUITE_LOG"])
    log_before = log.stat().st_size
    started = time.monotonic()
    firestore.document(write.path).set(write.fields)
    awaited = set(apps)
    for call in arriving(batch, started + WAIT_SECONDS):
        if call["accepted"]:
            milliseconds = (time.monotonic() - started) * 1000
            print(f"  {call['app']:<8} {words(call['body'])}  after {milliseconds:,.0f} ms")
            awaited.discard(call["app"])
        if not awaited:
            return
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(log_before)
        raise Missing(what_did_not_happen(write, sorted(awaited), batch.calls(), file.read()))


def arriving(batch: Batch, deadline: float) -> Iterator[dict[str, Any]]:
    """The calls that Batch has answered, as they come, until the deadline."""
    seen = 0
    while time.monotonic() < deadline:
        calls = batch.calls()
        while seen < len(calls) and calls[seen]["reply"]:
            yield calls[seen]
            seen += 1
        time.sleep(0.005)


def words(body: Mapping[str, Any]) -> str:
    message, to = body["message"], ", ".join(body["recipients"]["custom_ids"])
    return f"{message['title']}: {message['body']}  -> {to}"


def what_did_not_happen(
    write: Write, apps: list[str], calls: list[dict[str, Any]], log: str
) -> str:
    """The first step on the way to the push for which there is no sign."""
    missing = f"no push for {', '.join(apps)} within {WAIT_SECONDS:g} s: "
    if refused := [call for call in calls if not call["accepted"]]:
        return missing + f"Batch answered {refused[-1]['reply']}"
    if lines := [line for line in log.splitlines() if f'"function": "{write.function}"' in line]:
        return missing + f"{write.function} was called and said {lines[-1].strip()}"
    if write.function in log:
        return missing + f"{write.function} was called and did not call Batch"
    return missing + f"the write did not call {write.function}"


if __name__ == "__main__":
    sys.exit(main())
