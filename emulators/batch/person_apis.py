"""Batch's APIs of version 1.0, which are about people, in one place for the server."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from emulators.batch.gdpr import Requests, custom_id_in, gdpr_reply
from emulators.batch.journal import Call
from emulators.batch.profiles import Profiles, profile_refusal, updates
from emulators.batch.replies import Reply, accepted
from emulators.batch.tracked import Tracked, events_in, events_refusal

LAST = 3  # events of a person that the page shows


class PersonApis:
    """`app_names` are the apps' names by their keys."""

    def __init__(self, app_names: Mapping[str, str]) -> None:
        self.app_names = app_names
        self.profiles = Profiles()
        self.tracked: list[Tracked] = []
        self.requests = Requests()

    def routes(self) -> list[web.RouteDef]:
        """The emulator's own routes."""
        return [
            web.get("/__profiles", self.list_profiles),
            web.delete("/__profiles", self.clear),
            web.get("/__tracked", self.list_tracked),
            web.get("/__gdpr/{app_key}", self.list_requests),
        ]

    def reply(self, call: Call, lenient: bool, now: datetime) -> Reply | None:
        """Batch's reply, before carrying out the call; None if it is to another API."""
        custom_id = call.address.custom_id or ""
        match call.address.route:
            case "data/users":
                refused = profile_refusal(custom_id, call.body, lenient)
                return refused or Reply(200, accepted().body)
            case "events/users":
                return events_refusal(custom_id, call.body, now, lenient) or accepted()
            case "gdpr/create" | "gdpr/view" | "gdpr/list":
                app_key, route = call.address.app_key or "", call.address.route
                rows = self.requests.of_app(app_key, now)
                return gdpr_reply(route, call.address.token, call.body, rows, lenient)
        return None

    def settle(self, call: Call, verdict: Reply, now: datetime) -> None:
        """Carry out an accepted call, whatever reply its sender will get."""
        app_key, in_path = call.address.app_key or "", call.address.custom_id or ""
        match call.address.route:
            case "data/users":
                for custom_id, update in updates(in_path, call.body).items():
                    self.profiles.update(app_key, custom_id, update)
            case "events/users":
                app = self.app_names.get(app_key)
                self.tracked += [
                    Tracked(app, custom_id, event)
                    for custom_id, event in events_in(in_path, call.body)
                ]
            case "gdpr/create":
                request_id = verdict.body["request_id"]
                is_known = self._remove(app_key, call.body)
                self.requests.add(app_key, request_id, call.body, is_known, now)

    def _remove(self, app_key: str, body: Any) -> bool:
        """Whether anything was known of the person; it is removed if that is asked."""
        app, custom_id = self.app_names.get(app_key), custom_id_in(body)
        events = [each for each in self.tracked if (each.app, each.id) == (app, custom_id)]
        is_known = bool(events) or custom_id in self.profiles.of_app(app_key)
        if body["request_type"] == "remove":
            self.tracked = [each for each in self.tracked if each not in events]
            self.profiles.remove(app_key, custom_id)
        return is_known

    # --- the emulator's own routes

    async def list_profiles(self, request: web.Request) -> web.Response:
        return web.json_response(self.all_profiles())

    def all_profiles(self) -> list[dict[str, Any]]:
        return [
            {"app": self.app_names.get(app_key), "id": custom_id, "values": values}
            for (app_key, custom_id), values in self.profiles
        ]

    def known(self) -> list[dict[str, Any]]:
        """What the page shows of people: those of whom the apps know the same are one."""
        people: dict[str, dict[str, Any]] = {}
        events: dict[tuple[str | None, str], list[str]] = {}
        for each in self.tracked:
            events.setdefault((each.app, each.id), []).append(str(each.event["name"]))
        of_values = {(each["app"], each["id"]): each["values"] for each in self.all_profiles()}
        for app, custom_id in dict.fromkeys([*of_values, *events]):
            values = of_values.get((app, custom_id), {})
            told = events.get((app, custom_id), [])[-LAST:]
            if values or told:
                known = {"id": custom_id, "apps": [], "values": values, "events": told}
                same = json.dumps([custom_id, values, told], sort_keys=True)
                people.setdefault(same, known)["apps"].append(app)
        return list(people.values())

    async def clear(self, request: web.Request) -> web.Response:
        self.profiles.clear()
        self.tracked.clear()
        self.requests.clear()
        return web.Response(status=204)

    async def list_requests(self, request: web.Request) -> web.Response:
        """The removals and reviews of one app, whenever they were asked for."""
        forever = datetime.min.replace(tzinfo=UTC)
        return web.json_response(self.requests.of_app(request.match_info["app_key"], forever))

    async def list_tracked(self, request: web.Request) -> web.Response:
        return web.json_response([vars(each) for each in self.tracked])
