"""Profiles become attributes that campaigns target, and are forgotten: on the emulator suite."""

import json
import os
import subprocess
import sys
import uuid
from typing import Any

import pytest
from google.cloud.firestore import Client

from batchpush.leaving.receipt import receipt_id
from emulators.batch import Batch
from local.suite import LOCAL_SETTINGS
from tests.waits import until

pytestmark = pytest.mark.suite

APPS = ["android", "ios", "web"]


def test_a_campaign_targets_those_whose_profile_says_so() -> None:
    firestore, batch = Client(), Batch(os.environ["BATCH_EMULATOR_URL"])
    skier, painter = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("ann", "bob"))
    topic = f"ski-{uuid.uuid4().hex[:8]}"
    firestore.document(f"users/{skier}").set({"topics": [topic], "display_name": "Ann"})
    firestore.document(f"users/{painter}").set({"topics": ["art"], "city": "Lyon"})

    def known(user_id: str) -> list[dict[str, Any]]:
        return [each for each in batch.profiles() if each["id"] == user_id]

    until("profile", lambda: len(known(skier)) == len(known(painter)) == len(APPS))
    assert [each["values"] for each in known(skier)] == [{"ut.topics": [topic]}] * len(APPS)

    name = f"Snow {topic}"
    firestore.document(f"campaigns/{topic}").set(
        {
            "name": name,
            "live": True,
            "push_time": "now",
            "messages": {"en": {"body": "It snows"}},
            "targeting": {"query": {"ut.topics": {"$contains": [topic]}}},
        }
    )

    def campaigns() -> list[dict[str, Any]]:
        return [each for each in batch.campaigns() if each["body"]["name"] == name]

    until("campaign", lambda: len(campaigns()) == len(APPS))
    assert sorted(each["app"] for each in campaigns()) == APPS
    assert [each["audience"] for each in campaigns()] == [[skier]] * len(APPS)

    firestore.document(f"users/{skier}").update({"topics": []})
    until("change", lambda: not any(each["values"] for each in known(skier)))


def test_a_deleted_account_is_forgotten_by_every_app_and_leaves_a_receipt() -> None:
    firestore, batch = Client(), Batch(os.environ["BATCH_EMULATOR_URL"])
    leaver = f"eve-{uuid.uuid4().hex[:8]}"
    profile = firestore.document(f"users/{leaver}")
    profile.set({"city": "Lyon"})

    def known() -> list[dict[str, Any]]:
        return [each for each in batch.profiles() if each["id"] == leaver]

    until("profile", lambda: len(known()) == len(APPS))
    profile.delete()
    until("removal", lambda: not known())
    receipt = firestore.document(f"batch_receipts/{receipt_id(leaver)}")

    def asked() -> list[dict[str, Any]]:
        removals: list[dict[str, Any]] = (receipt.get().to_dict() or {}).get("removals", [])
        return [each for each in removals if each["state"] == "asked"]

    until("receipt", lambda: len(asked()) == len(APPS))
    assert sorted(each["app"] for each in asked()) == APPS

    command = [sys.executable, "-m", "batchpush", "receipts", "--finish", "--user", leaver]
    environment = os.environ | {"BATCH_APPS": LOCAL_SETTINGS["BATCH_APPS"]}
    done = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["state"] == "DONE"
    assert [each["status"] for each in told["removals"]] == ["done"] * len(APPS)
    assert leaver not in done.stdout
    assert not firestore.document(f"batch_profiles/{leaver}").get().exists
