"""What the page asks, answered in plain values for JSON. The other commands answer the same."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from starlette.datastructures import QueryParams

from batchpush.campaigns.state import CampaignState, Publication
from batchpush.campaigns.store import AppEntry, Publications
from batchpush.cli.arguments import count, document_path, prefix, state, user_id, when
from batchpush.cli.deliveries import as_json, bodies_of, moment, per_app, where_bodies_went
from batchpush.cli.finding import Finder, search_for
from batchpush.cli.records import full_id, read
from batchpush.cli.replay import outcome, plan_replay
from batchpush.cli.story import MEANS, story
from batchpush.cli.terminal import CannotDo
from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import DeliveryState, Record
from batchpush.environment import project_id
from batchpush.errors import DeliveryUnfinished
from batchpush.google.firestore import WriteConflict
from batchpush.worker import Worker

PAGE = 50  # deliveries, or states of campaigns, in one answer
NEEDING_CARE = frozenset(CampaignState) - {CampaignState.APPLIED, CampaignState.ABSENT}


class ChangedMeanwhile(Exception):
    """The delivery is no longer the one that was looked at."""


@dataclass
class Answers:
    """Answers from the records of one project."""

    made: Worker

    def project(self) -> dict[str, Any]:
        return {
            "id": project_id(),
            "emulator": os.environ.get("FIRESTORE_EMULATOR_HOST"),
            "states": [each.value for each in DeliveryState],
        }

    async def deliveries(self, asked: QueryParams) -> dict[str, Any]:
        """A page of what a search finds. `next` has the parameters that continue it.

        `question` is what to ask before it reads on.
        """
        chosen = _filters(asked)
        after, skip, agreed = asked.get("after"), _whole(asked, "skip"), _whole(asked, "agreed")
        last = (await read(self.made, await full_id(self.made, prefix(after)))) if after else None
        reading = Reading(agreed)
        searching = Finder(
            self.made,
            search_for(chosen, self.made),
            skip + PAGE,
            last.record if last else None,
            reading.is_to_go_on,
        )
        found = await searching.find()
        return {
            "deliveries": [_row(each, chosen.user) for each in found[skip:]],
            "is_continued": bool(after or skip),
            "question": reading.question,
            "next": None if searching.is_all else reading.next(searching, skip),
        }

    async def delivery(self, record_id: str) -> dict[str, Any]:
        """Everything that is known of a delivery, and what a replay of it would do."""
        entry = await read(self.made, await full_id(self.made, record_id))
        record = entry.record
        steps = [{"at": step.at and moment(step.at), "what": step.what} for step in story(record)]
        has_lost_bodies = bool(record.calls and not record.bodies)
        return as_json(record) | {
            "version": _version(entry),
            "means": record.reason or MEANS[record.state],
            "story": steps,
            "bodies": bodies_of(record),
            "no_bodies": where_bodies_went(record, self.made) if has_lost_bodies else None,
            "replay": self._offer(record),
        }

    def _offer(self, record: Record) -> dict[str, Any]:
        """The plan of a replay, and of one that also sends what may have been accepted."""
        if record.state is DeliveryState.SENT:
            return {"plan": None, "anyway": None, "why_not": "Batch accepted every request"}
        apps = self.made.settings.callable_apps
        plan, anyway = (plan_replay(record, unknown, apps) for unknown in (False, True))
        # The calls of a large audience are in the records of its chunks.
        is_unknown = anyway != plan or (bool(record.chunks) and record.state is DeliveryState.HELD)
        is_sending = plan.is_sending or anyway.is_sending
        return {
            "plan": list(plan.lines) if plan.is_sending else None,
            "anyway": list(anyway.lines) if anyway.is_sending and is_unknown else None,
            "why_not": None if is_sending else "; ".join(plan.lines),
        }

    async def replay(self, record_id: str, version: str, resend_unknown: bool) -> dict[str, Any]:
        """Replay the delivery if it still has the version for which a plan was shown."""
        entry = await read(self.made, record_id)
        if _version(entry) != version:
            raise ChangedMeanwhile("it changed since you looked at it, and nothing was sent")
        plan = plan_replay(entry.record, resend_unknown, self.made.settings.callable_apps)
        if not plan.is_sending:
            raise CannotDo("; ".join(plan.lines))
        try:
            record = await self.made.replay.replay(entry, resend_unknown)
        except (WriteConflict, DeliveryUnfinished):
            raise ChangedMeanwhile("another worker is sending it") from None
        return {"state": record.state.value, "says": outcome(record)}

    async def campaigns(self, is_all: bool, after: str | None) -> dict[str, Any]:
        """A page of the states of campaigns; without `is_all`, of those that need care."""
        publications = Publications(self.made.firestore)
        entries, last = await publications.listed(() if is_all else NEEDING_CARE, after, PAGE)
        names = await publications.names({entry.campaign for entry in entries})
        return {
            "campaigns": [
                {"path": path, "name": names.get(path), "apps": [*map(_app, of_campaign)]}
                for path, of_campaign in groupby(entries, lambda entry: entry.campaign)
            ],
            "next": last,
        }


@dataclass
class Reading:
    """Reads on as often as was agreed to, and keeps the question after that."""

    agreed: int
    asked: int = 0
    question: str | None = None

    def is_to_go_on(self, question: str) -> bool:
        self.asked += 1
        if self.asked <= self.agreed:
            return True
        self.question = question
        return False

    def next(self, searching: Finder, skip: int) -> dict[str, Any]:
        """The parameters that continue a search where it stopped.

        What the database does not sort is read again, up to where it is agreed to read.
        """
        if searching.last:
            return {"after": searching.last.id}
        if self.question:
            return {"skip": skip, "agreed": self.agreed + 1}
        return {"skip": skip + PAGE, "agreed": self.agreed}


def _filters(asked: QueryParams) -> argparse.Namespace:
    """As the other commands have them from the command line; raises `ArgumentTypeError`."""
    states = [state(each) for each in asked.getlist("state")]
    given: Mapping[str, str] = {name: text.strip() for name, text in asked.items() if text.strip()}
    return argparse.Namespace(
        state=states or None,
        user=user_id(given["user"]) if "user" in given else None,
        document=document_path(given["document"]) if "document" in given else None,
        function=given.get("function"),
        since=when(given["since"]) if "since" in given else None,
        until=None,
    )


def _whole(asked: QueryParams, name: str) -> int:
    text = asked.get(name, "0")
    return count(text) if text != "0" else 0


def _row(record: Record, user: str | None) -> dict[str, Any]:
    """A line of the list; in a search by user, with why they were left out."""
    return {
        "id": record.id,
        "state": record.state.value,
        "function": record.function,
        "document": record.document,
        "created_at": moment(record.created_at),
        "not_before": record.not_before and moment(record.not_before),
        "apps": per_app(record.calls),
        "means": record.reason or MEANS[record.state],
        "left_out": [reason for reason, user_ids in record.left_out if user in user_ids],
    }


def _app(entry: AppEntry) -> dict[str, Any]:
    publication: Publication = entry.publication
    return {
        "app": entry.app,
        "state": publication.state.value,
        "error": publication.error,
        "updated_at": moment(publication.updated_at),
        "live_from": publication.live_from and moment(publication.live_from),
        "campaign_token": publication.campaign_token,
    }


def _version(entry: Entry) -> str:
    return f"{entry.version.seconds}.{entry.version.nanos:09}"
