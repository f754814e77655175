"""The Firebase project around the Batch emulator: its documents, delivery records and functions.

It exists if the emulator suite started the Batch emulator, and not if that runs alone.
"""

import asyncio
import re
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from emulators.batch.journal import Call, as_rfc3339
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
)
ANSWER_SECONDS = 10
REPLAY_SECONDS = 90  # a replay makes attempts for 45
LOG_AGAIN_SECONDS = 1.0

# A line in firebase-tools' log; nothing else says when a function was called.
BEGINNING = re.compile(r'Beginning execution of "(?:[a-z]+-)+[a-z]+\d+-(\w+)"')


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
        self.listed_at = 0.0
        self.beginnings: deque[tuple[str, datetime]] = deque(maxlen=1000)

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

    async def write(self, path: str, document: Mapping[str, Any]) -> None:
        """Create or replace a document."""
        names = path.split("/")
        if len(names) % 2 or not all(names):
            raise CannotDo("the path of a document must be collection/id, one or more times")
        try:
            fields = to_fields(document)
        except ValueError as error:
            raise CannotDo(str(error)) from None
        await self._firestore("PATCH", f"/{quote(path)}", {"fields": fields})

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
            self.listed_at = time.monotonic()
        return self.records

    async def _list(self) -> list[dict[str, Any]]:
        query = {
            "from": [{"collectionId": self.collection}],
            "select": {"fields": [{"fieldPath": name} for name in FIELDS]},
            "orderBy": [{"field": {"fieldPath": "created_at"}, "direction": "DESCENDING"}],
            "limit": SHOWN,
        }
        rows = await self._firestore("POST", ":runQuery", {"structuredQuery": query})
        found = [row["document"] for row in rows if "document" in row]
        records = [
            {"id": each["name"].rpartition("/")[2], "calls": []} | from_fields(each["fields"])
            for each in found
        ]
        await asyncio.gather(*(self._learn_bodies(record["id"]) for record in records))
        return records

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
                    self.senders[app, text].append(record)

    def delivery_of(self, call: Call) -> str | None:
        """The record that a call belongs to, which the call itself does not say.

        Among records that send this body to this app, it is the one whose time span covers the
        call, or else the newest one before the call, which is still being sent.
        """
        if call.app is None:
            return None
        before = [
            record
            for record in self.senders.get((call.app, call.text), ())
            if time_of(record, "created_at") <= call.received_at
        ]
        in_time = [each for each in before if call.received_at <= time_of(each, "updated_at")]
        return next((each["id"] for each in in_time + before), None)

    def called_at(self, record: Mapping[str, Any]) -> str | None:
        """When the function was called for the record; None if that is ambiguous."""
        since, until = time_of(record, "event_time"), time_of(record, "created_at")
        times = [
            at
            for function, at in self.beginnings
            if function == record["function"] and since <= at <= until
        ]
        return as_rfc3339(times[0]) if len(times) == 1 else None

    async def _follow_log(self) -> None:
        """Listen to firebase-tools, which starts after us."""
        while True:
            with suppress(aiohttp.ClientError):
                async with self.session.ws_connect(self.environ["LOGGING_EMULATOR_URL"]) as lines:
                    async for line in lines:
                        self.remember_beginning(line.json())
            await asyncio.sleep(LOG_AGAIN_SECONDS)

    def remember_beginning(self, line: Mapping[str, Any]) -> None:
        if found := BEGINNING.search(line.get("message", "")):
            at = datetime.fromtimestamp(line["timestamp"] / 1000, UTC)
            self.beginnings.append((found[1], at))

    # --- actions of an operator

    async def replay(self, record_id: str) -> str:
        """Run the operator's command; returns its output."""
        command = [sys.executable, "-m", "batchpush", "replay", record_id, "--send"]
        program = await asyncio.create_subprocess_exec(
            *command,
            "--project",
            self.id,
            cwd=ROOT,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await asyncio.wait_for(program.communicate(), REPLAY_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                program.kill()
        return said.decode("utf-8", "replace").strip()

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
