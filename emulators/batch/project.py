"""The Firebase project around the Batch emulator: its documents, delivery records and functions.

It exists if the emulator suite started the Batch emulator, and not if that runs alone.
"""

import asyncio
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from emulators.batch import cep
from emulators.batch.functions_log import FunctionsLog
from emulators.batch.journal import Call, as_rfc3339
from emulators.batch.watched import called_by
from emulators.firestore import from_fields, to_fields
from emulators.secret_manager import SecretManager, secret_place

ROOT = Path(__file__).resolve().parent.parent.parent

NEEDED = (
    "GCLOUD_PROJECT",
    "REGION",
    "BATCH_REST_KEY_SECRET",
    "FIRESTORE_EMULATOR_HOST",
    "FUNCTIONS_EMULATOR_URL",
    "LOGGING_EMULATOR_URL",
    "SECRET_MANAGER_EMULATOR_URL",
)

SHOWN = 50  # records, the newest
LISTED_EVERY = 0.5  # seconds
FIELDS = (
    "function",
    "document",
    "state",
    "reason",
    "event_time",
    "created_at",
    "updated_at",
    "calls",
    "chunks",
    "left_out",
)
STATE_FIELDS = ("state", "error", "campaign_token", "updated_at")
ANSWER_SECONDS = 10
REPLAY_SECONDS = 90  # a replay makes attempts for 45
LOG_AGAIN_SECONDS = 1.0


class CannotDo(Exception):
    """The action failed; the message says why."""


class Project:
    session: aiohttp.ClientSession

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.id = environ["GCLOUD_PROJECT"]
        self.database = environ.get("DATABASE", "(default)")
        self.collection = environ.get("DELIVERIES_COLLECTION", "batch_deliveries")
        self.records: list[dict[str, Any]] = []
        self.senders: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self.bodies: dict[str, list[str]] = {}
        self.campaigns: list[dict[str, Any]] = []
        self.listed_at = 0.0
        self.log = FunctionsLog(ROOT)

    @classmethod
    def around(cls, environ: Mapping[str, str]) -> "Project | None":
        return cls(environ) if all(environ.get(name) for name in NEEDED) else None

    async def opened(self, app: web.Application) -> AsyncIterator[None]:
        """Open while the emulator serves: a context for aiohttp's `cleanup_ctx`."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as self.session:
            following = asyncio.create_task(self._follow_log())
            yield
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    # --- documents

    async def write(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Create or replace a document; returns which it was, and the functions that it calls."""
        names = path.split("/")
        if len(names) % 2 or not all(names):
            raise CannotDo("the path of a document must be collection/id, one or more times")
        try:
            fields = to_fields(document)
        except ValueError as error:
            raise CannotDo(str(error)) from None
        stored = await self._firestore("PATCH", f"/{quote(path)}", {"fields": fields})
        kind = "created" if stored["createTime"] == stored["updateTime"] else "updated"
        backends = await self._answer(
            "GET", f"{self.environ['FUNCTIONS_EMULATOR_URL']}/backends", None
        )
        return {"path": path, "kind": kind, "calls": called_by(backends, path, kind)}

    async def _firestore(self, method: str, path: str, data: Any = None) -> Any:
        host = self.environ["FIRESTORE_EMULATOR_HOST"]
        url = f"http://{host}/v1/projects/{self.id}/databases/{self.database}/documents{path}"
        # The emulator's name for a caller to whom no security rule applies.
        return await self._answer(method, url, data, {"Authorization": "Bearer owner"})

    async def _answer(
        self, method: str, url: str, data: Any, headers: Mapping[str, str] | None = None
    ) -> Any:
        try:
            async with self.session.request(method, url, json=data, headers=headers) as reply:
                if reply.status == 200:
                    return await reply.json() if "json" in reply.content_type else None
                text = await reply.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CannotDo(f"no answer from the emulator: {type(error).__name__}") from None
        said = re.search(r'"message":\s*"(.*)"', text)
        raise CannotDo(said[1] if said else f"the emulator answered {reply.status}: {text[:200]}")

    # --- delivery records

    async def deliveries(self) -> list[dict[str, Any]]:
        """The deliveries, newest first; the last known ones while Firestore does not respond."""
        if time.monotonic() >= self.listed_at + LISTED_EVERY:
            with suppress(CannotDo):
                self.remember(await self._list())
                self.campaigns = await self._list_campaigns()
            self.listed_at = time.monotonic()
        return self.records

    async def _list(self) -> list[dict[str, Any]]:
        found = await self._newest({"collectionId": self.collection}, FIELDS, "created_at")
        records = [
            {"id": path.rpartition("/")[2], "calls": []} | fields for path, fields in found.items()
        ]
        await asyncio.gather(*(self._learn_bodies(record["id"]) for record in records))
        return records

    async def _list_campaigns(self) -> list[dict[str, Any]]:
        """The campaigns that documents are, each with its state in every app, newest first."""
        of_all = {"collectionId": "batch", "allDescendants": True}
        found = await self._newest(of_all, STATE_FIELDS, "updated_at")
        campaigns: dict[str, dict[str, Any]] = {}
        for path, fields in found.items():
            document, _, app = path.rpartition("/batch/")
            if re.fullmatch("campaigns/[^/]+", document):  # else of another `batch`
                campaign = {"document": document, "updated_at": fields["updated_at"], "apps": {}}
                campaigns.setdefault(document, campaign)["apps"][app] = fields
        return list(campaigns.values())

    async def _newest(
        self, collection: Mapping[str, Any], fields: Collection[str], by: str
    ) -> dict[str, dict[str, Any]]:
        """The fields of the newest documents, by their paths."""
        query = {
            "from": [collection],
            "select": {"fields": [{"fieldPath": name} for name in fields]},
            "orderBy": [{"field": {"fieldPath": by}, "direction": "DESCENDING"}],
            "limit": SHOWN,
        }
        rows = await self._firestore("POST", ":runQuery", {"structuredQuery": query})
        found = [row["document"] for row in rows if "document" in row]
        return {
            each["name"].partition("/documents/")[2]: from_fields(each["fields"]) for each in found
        }

    async def _learn_bodies(self, record_id: str) -> None:
        """Read the bodies only once, since they never change and may be long."""
        if record_id not in self.bodies:
            path = f"/{self.collection}/{record_id}?mask.fieldPaths=bodies"
            document = await self._firestore("GET", path)
            self.bodies[record_id] = from_fields(document.get("fields", {})).get("bodies", [])

    def remember(self, records: list[dict[str, Any]]) -> None:
        self.records = [record | {"called_at": self.called_at(record)} for record in records]
        self.senders.clear()
        for record in records:
            bodies = self.bodies[record["id"]]
            if bodies:  # not erased
                for app, text in {(each["app"], bodies[each["body"]]) for each in record["calls"]}:
                    said = cep.fingerprint(text) if app == cep.APP else text
                    self.senders[app, said].append(record)

    def delivery_of(self, call: Call) -> str | None:
        """The record that a call belongs to, which the call itself does not say.

        Among records that send this body to this app, it is the one whose time span covers the
        call, or else the newest one before the call, which is still being sent.
        """
        if call.app is None:
            return None
        said = cep.fingerprint(call.text) if call.app == cep.APP else call.text
        before = [
            record
            for record in self.senders.get((call.app, said), ())
            if time_of(record, "created_at") <= call.received_at
        ]
        in_time = [each for each in before if call.received_at <= time_of(each, "updated_at")]
        return next((each["id"] for each in in_time + before), None)

    def campaign_of(self, call: Call) -> str | None:
        """The document of the campaign that a call is about."""
        said = call.reply.body if call.reply and isinstance(call.reply.body, dict) else {}
        token = call.address.token or said.get("campaign_token")
        return next((each["document"] for each in self.campaigns if token in tokens(each)), None)

    def called_at(self, record: Mapping[str, Any]) -> str | None:
        """When the function was called for the record; None if that is ambiguous."""
        since, until = time_of(record, "event_time"), time_of(record, "created_at")
        times = [
            at
            for function, at in self.log.beginnings
            if function == record["function"] and since <= at <= until
        ]
        return as_rfc3339(times[0]) if len(times) == 1 else None

    async def _follow_log(self) -> None:
        """Listen to firebase-tools, which starts after us."""
        while True:
            with suppress(aiohttp.ClientError):
                async with self.session.ws_connect(self.environ["LOGGING_EMULATOR_URL"]) as lines:
                    self.log = FunctionsLog(ROOT)
                    async for line in lines:
                        self.log.read(line.json())
            await asyncio.sleep(LOG_AGAIN_SECONDS)

    # --- actions of an operator

    async def replay(self, record_id: str, resend_unknown: bool, send: bool) -> Mapping[str, Any]:
        """Run the operator's command, to show the plan or to `send`; returns its JSON."""
        options = ["--send"] * send + ["--resend-unknown"] * resend_unknown
        command = [sys.executable, "-m", "batchpush", "replay", record_id, "--json", *options]
        program = await asyncio.create_subprocess_exec(
            *command,
            "--project",
            self.id,
            cwd=ROOT,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complaint = await asyncio.wait_for(program.communicate(), REPLAY_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                program.kill()
        if not said:
            raise CannotDo(complaint.decode("utf-8", "replace").strip())
        told: dict[str, Any] = json.loads(said)
        return told

    async def sweep(self) -> None:
        """Call the scheduled function, as Cloud Scheduler does every ten minutes."""
        functions, region = self.environ["FUNCTIONS_EMULATOR_URL"], self.environ["REGION"]
        url = f"{functions}/functions/projects/{self.id}/triggers/{region}-sweep-0"
        await self._answer("POST", url, {})

    async def store_rest_key(self, key: str) -> None:
        secrets = SecretManager(self.environ["SECRET_MANAGER_EMULATOR_URL"])
        project, secret = secret_place(self.environ["BATCH_REST_KEY_SECRET"], self.id)
        await asyncio.to_thread(secrets.add_version, project, secret, key)


def time_of(record: Mapping[str, Any], field: str) -> datetime:
    return datetime.fromisoformat(record[field])


def tokens(campaign: Mapping[str, Any]) -> set[str]:
    """What Batch calls the campaign, app by app."""
    return {
        token for fields in campaign["apps"].values() if (token := fields.get("campaign_token"))
    }
