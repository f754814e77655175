"""With `DATABASE`, what is written is in that Firestore database."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

pytestmark = pytest.mark.suite

REFUSE = """
import asyncio, json, sys
from dataclasses import replace
import main
from batchpush.worker import worker
from batchpush.google.clients import firestore
from batchpush.events.triggers import WATCHED
from tests.events import created

async def refuse(path, source):
    push_id = path.rpartition("/")[2]
    event = replace(created(path, {}, push_id=push_id), id=push_id, source=source)
    await WATCHED["outbox"].function(event)
    reported = f"{path}/delivery/state"
    found = {}
    for database in ("(default)", "orders"):
        documents = await firestore(database).read(reported)
        found[database] = {key: value.fields["state"] for key, value in documents.items()}
    await worker().client.aclose()
    print(json.dumps(found))

asyncio.run(refuse(*sys.argv[1:]))
"""


@pytest.mark.parametrize("database", ["(default)", "orders"])
def test_a_record_and_its_report_are_in_the_database_of_the_settings(database: str) -> None:
    path = f"pushes/{uuid.uuid4().hex}"
    source = f"//firestore.googleapis.com/projects/demo-batchpush/databases/{database}"
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, path, source],
        env=os.environ | {"DATABASE": database, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    other = {"(default)": "orders", "orders": "(default)"}[database]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        database: {f"{path}/delivery/state": "REFUSED"},
        other: {},
    }
