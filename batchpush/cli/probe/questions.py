"""The questions of `probe`: what Batch's documentation leaves open, one row each.

None of them can reach a phone. A campaign is always a draft (`live` is false), is due in months and
targets a value that nobody has. A transactional body names no recipient and has no message.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from batchpush.pushes.campaign import MIN_NAME
from batchpush.pushes.push import MAX_LABELS, MAX_TIME_TO_LIVE

# Placeholders in a row; `Question.filled` replaces them. The report shows them in requests and,
# where possible, in answers, so that two reports can be compared.
NAME = "{name}"  # the marker of the run, and the question's name
MARKER = "{marker}"
NOBODY = "{nobody}"  # the first targeting query that Batch accepted
LATER = "{later}"  # a time in some months
CAMPAIGN = "{campaign}"  # the draft that stays until the end
SINCE, UNTIL = "{since}", "{until}"  # yesterday and today

UNKNOWN_TOKEN = "0" * 32
GROUP_ID = "batchpush_probe"

TEXT = {"language": "en", "title": "batchpush", "body": "This is a probe. Nobody receives it."}
DRAFT: dict[str, Any] = {
    "name": NAME,
    "live": False,
    "push_time": LATER,
    "targeting": {"query": NOBODY},
    "messages": [TEXT],
}
MEDIA = {"picture": "https://www.google.com/favicon.ico"}
LANDING = {"theme": "plain", "actions": [{"action": "dismiss", "label": "OK", "args": {}}]}
DEEPLINK = "https://example.com/"
PAYLOAD = '{"probe": 1}'


@dataclass(frozen=True)
class Question:
    """A request, and what its answer would settle. `body` is JSON, or bytes to send as they are."""

    name: str
    asks: str
    method: str
    route: str
    body: Any = None
    offers: Mapping[str, Any] | None = None  # a targeting query that the others may use
    stays: bool = False  # the campaign is deleted at the end, not at once
    has_wrong_app: bool = False
    has_wrong_key: bool = False

    @property
    def creates(self) -> bool:
        return self.route == "campaigns/create"

    @property
    def deletes(self) -> bool:
        return self.route == f"campaigns/delete/{CAMPAIGN}"

    @property
    def is_marked(self) -> bool:
        """Whether its campaign has a name that the marker begins."""
        return isinstance(self.body, dict) and str(self.body.get("name")).startswith(NAME)

    def with_query(self, query: Mapping[str, Any]) -> Any:
        """The body that the report shows: it targets this query and has the question's name."""
        if isinstance(self.body, bytes):
            return self.body.decode()
        text = json.dumps(self.body).replace(json.dumps(NOBODY), json.dumps(query))
        return json.loads(text.replace(NAME, f"{MARKER} {self.name}"))

    def filled(self, query: Mapping[str, Any], values: Mapping[str, str]) -> bytes | None:
        """The body to send; `values` replace the remaining placeholders."""
        if self.body is None or isinstance(self.body, bytes):
            return self.body
        return fill(json.dumps(self.with_query(query)), values).encode()


def fill(text: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    return text


def _draft(changes: dict[str, Any]) -> dict[str, Any]:
    """The draft with these fields; `...` leaves one out."""
    return {name: value for name, value in (DRAFT | changes).items() if value is not ...}


def _create(name: str, asks: str, /, **changes: Any) -> Question:
    return Question(name, asks, "POST", "campaigns/create", _draft(changes))


def _targeting(name: str, asks: str, query: Mapping[str, Any]) -> Question:
    body = _draft({"targeting": {"query": query}})
    return Question(name, asks, "POST", "campaigns/create", body, offers=query)


def _message(name: str, asks: str, /, **changes: Any) -> Question:
    message = {key: value for key, value in (TEXT | changes).items() if value is not ...}
    return _create(name, asks, messages=[message])


def _send(name: str, asks: str, /, **fields: Any) -> Question:
    """It is no valid push: there is neither a recipient nor a message."""
    body = {"group_id": GROUP_ID, **fields}
    return Question(name, asks, "POST", "transactional/send", body)


def _get(name: str, asks: str, route: str) -> Question:
    return Question(name, asks, "GET", route)


def _post(name: str, asks: str, route: str, body: Any = None) -> Question:
    return Question(name, asks, "POST", route, body)


LIST = "campaigns/list?from_api=true&limit="
STATS = f"transactional/stats/{GROUP_ID}"
SEGMENTS = ["NEW", "ONE_TIME", "ENGAGED", "DORMANT", "IMPORTED"]

KEYS = (
    replace(
        _get("wrong-rest-key", "What answers a wrong REST key?", f"{LIST}1"), has_wrong_key=True
    ),
    replace(_get("wrong-app-key", "What answers a wrong app key?", f"{LIST}1"), has_wrong_app=True),
    _get("unknown-route", "What answers a route that does not exist?", "batchpush/probe"),
    Question(
        "wrong-method", "What answers a wrong method on a route?", "PUT", "transactional/send"
    ),
)

TARGETING = (
    _targeting(
        "targeting-tag",
        "Can a query ask for a tag of the app?",
        {f"t.{GROUP_ID}": {"$contains": ["nobody"]}},
    ),
    _targeting(
        "targeting-attribute",
        "Can a query ask for an attribute of the app?",
        {f"c.{GROUP_ID}": "nobody"},
    ),
    _targeting(
        "targeting-api-attribute",
        "Can a query ask for an attribute of the Custom Data API?",
        {f"u.{GROUP_ID}": "nobody"},
    ),
    _create(
        "segments",
        "Are all five segments known?",
        targeting={"query": NOBODY, "segments": SEGMENTS},
    ),
    _create(
        "unknown-segment",
        "What answers an unknown segment?",
        targeting={"query": NOBODY, "segments": ["BATCHPUSH_PROBE"]},
    ),
    _create(
        "targeting-languages",
        "Does targeting have languages?",
        targeting={"query": NOBODY, "languages": ["en"]},
    ),
    _create(
        "targeting-regions",
        "Does targeting have regions?",
        targeting={"query": NOBODY, "regions": ["FR"]},
    ),
    _create(
        "unknown-targeting",
        "What answers an unknown field of targeting?",
        targeting={"query": NOBODY, "batchpush_probe": 1},
    ),
)

BODIES = (
    _post("not-json", "What answers a body that is not JSON?", "campaigns/create", b'{"name": '),
    _post("no-body", "What answers an empty body?", "campaigns/create"),
    _post("list-as-body", "What answers a list as body?", "campaigns/create", []),
    _post(
        "almost-nothing",
        "Which missing field is named first?",
        "campaigns/create",
        {"live": False, "targeting": {"query": NOBODY}},
    ),
    _create("unknown-field", "What answers an unknown field?", batchpush_probe=1),
    _create("null-field", "Is null the same as no field?", deeplink=None),
    _create("no-name", "What answers a missing name?", name=...),
    _create("short-name", "What answers a name that is too short?", name=GROUP_ID[: MIN_NAME - 1]),
    _create("long-name", "Is there a maximum length of a name?", name=NAME + " x" * 500),
    _create("number-as-name", "What answers a number as name?", name=7),
)

TIMES = (
    _create("no-time", "What answers a campaign without a time?", push_time=...),
    _create("two-times", "Do the two times exclude each other?", local_push_time=LATER),
    _create("local-time", "Is the local time accepted?", push_time=..., local_push_time=LATER),
    _create("time-with-zone", "Is a time with a zone accepted?", push_time=f"{LATER}Z"),
    _create("not-a-time", "What answers a malformed time?", push_time="someday"),
    _create("distant-time", "May a time be many years away?", push_time="2099-12-31T09:00:00"),
)

MESSAGES = (
    _create("no-messages", "What answers missing messages?", messages=...),
    _create("empty-messages", "What answers an empty list of messages?", messages=[]),
    _create(
        "two-languages", "Can it have two languages?", messages=[TEXT, TEXT | {"language": "fr"}]
    ),
    _create("same-language", "What answers one language twice?", messages=[TEXT, TEXT]),
    _message("no-language", "Is the language required?", language=...),
    _message("unknown-language", "What answers an unknown language?", language="english"),
    _message("regional-language", "Can a language have a region?", language="pt-BR"),
    _message("no-title", "Is the title optional?", title=...),
    _message("empty-title", "Is an empty title accepted?", title=""),
    _message("no-text", "What answers a missing text?", body=...),
    _message("empty-text", "Is an empty text accepted?", body=""),
    _message("number-as-text", "What answers a number as text?", body=7),
    _message("long-text", "Is there a maximum length of a text?", body="A probe. " * 500),
    _message("unknown-message-field", "What answers an unknown field of a message?", probe=1),
)

FIELDS = (
    _create("media", "Are media a field of the campaign?", media=MEDIA),
    _message("media-in-message", "Are media a field of a message?", media=MEDIA),
    _create("icon", "Is an icon accepted for this platform?", media={"icon": MEDIA["picture"]}),
    _create(
        "unreachable-media",
        "Does Batch look media up?",
        media={"picture": "https://batchpush-probe.example/none.png"},
    ),
    _create("deeplink", "Is a deep link a field of the campaign?", deeplink=DEEPLINK),
    _message("deeplink-in-message", "Is a deep link a field of a message?", deeplink=DEEPLINK),
    _create("empty-deeplink", "Is an empty deep link accepted?", deeplink=""),
    _create("payload", "Is a custom payload a field of the campaign?", custom_payload=PAYLOAD),
    _message(
        "payload-in-message", "Is a custom payload a field of a message?", custom_payload=PAYLOAD
    ),
    _create("payload-as-object", "May a custom payload be an object?", custom_payload={"probe": 1}),
    _create("payload-not-json", "Must a custom payload be JSON?", custom_payload="probe"),
    _create("landing", "Is a landing a field of the campaign?", landing=LANDING),
    _message("landing-in-message", "Is a landing a field of a message?", landing=LANDING),
    _create(
        "landing-and-deeplink",
        "Do a landing and a deep link exclude each other?",
        landing=LANDING,
        deeplink=DEEPLINK,
    ),
    _create("alert", "Is alert a push type?", push_type="alert"),
    _create("background", "May a background push have a message?", push_type="background"),
    _create("unknown-push-type", "What answers an unknown push type?", push_type="probe"),
    _create("unknown-priority", "What answers an unknown priority?", priority="probe"),
    _create("no-time-to-live", "Is a time to live of 0 accepted?", time_to_live=0),
    _create(
        "long-time-to-live",
        "What answers a time to live over the maximum?",
        time_to_live=MAX_TIME_TO_LIVE + 1,
    ),
    _create("negative-time-to-live", "What answers a negative time to live?", time_to_live=-1),
    _create("text-as-time-to-live", "What answers a text as time to live?", time_to_live="3600"),
    _create(
        "collapse-key",
        "Is the collapse key an object?",
        gcm_collapse_key={"enabled": True, "key": "default"},
    ),
    _create(
        "text-as-collapse-key", "Is a string accepted as collapse key?", gcm_collapse_key="default"
    ),
    _create("unknown-label", "Must a label exist in the dashboard?", labels=[GROUP_ID]),
    _create(
        "many-labels",
        "What answers too many labels?",
        labels=[f"{GROUP_ID}_{number}" for number in range(MAX_LABELS + 1)],
    ),
    _create("skip-media-check", "Can a campaign skip the look-up of media?", skip_media_check=True),
    _create("sandbox", "Does a campaign have a sandbox?", sandbox=True),
    _create("recurrence", "Is recurrence the name of a field?", recurrence={"frequency": "daily"}),
)

SENDS = (
    _post(
        "send-not-json",
        "What answers a push that is not JSON?",
        "transactional/send",
        b'{"group_id": ',
    ),
    _post("send-nothing", "What answers an empty push?", "transactional/send", {}),
    _send("send-to-nobody", "What answers a push without recipients?"),
    _send("send-empty-recipients", "What answers empty recipients?", recipients={}),
    _send(
        "send-empty-list",
        "What answers an empty list of recipients?",
        recipients={"custom_ids": []},
    ),
    _send(
        "send-empty-lists",
        "Are the four lists of recipients known by these names?",
        recipients={"custom_ids": [], "install_ids": [], "tokens": [], "advertising_ids": []},
    ),
    _send(
        "send-unknown-list",
        "What answers an unknown list of recipients?",
        recipients={"probes": []},
    ),
    _send("send-group-with-space", "What answers a malformed group?", group_id="batchpush probe"),
    _send("send-long-group", "Does a group of 129 characters get an error?", group_id="x" * 129),
    _send("send-number-as-group", "What answers a number as group?", group_id=7),
    _send("send-unknown-field", "What answers an unknown field of a push?", batchpush_probe=1),
    _send("send-messages", "Does a push have messages in several languages?", messages={}),
    _send("send-no-time-to-live", "Does a push take a time to live of 0?", time_to_live=0),
    _send("send-alert", "Does a push have a type?", push_type="alert"),
    _send("send-skip-media-check", "Can a push skip the look-up of media?", skip_media_check=True),
)

QUESTIONS: tuple[Question, ...] = (
    *KEYS,
    *TARGETING,
    *BODIES,
    *TIMES,
    *MESSAGES,
    *FIELDS,
    # one draft for all of these, until `delete`
    replace(_create("draft", "What answers a valid draft?"), stays=True),
    _get("list", "Does a Dev key get the list?", f"{LIST}1"),
    _get("long-list", "What answers a page that is too long?", f"{LIST}101"),
    _get("view", "Does a Dev key see a campaign?", f"campaigns/{CAMPAIGN}"),
    _get("stats", "Does a Dev key get statistics?", f"campaigns/stats/{CAMPAIGN}"),
    _get(
        "group-stats",
        "Does a Dev key get statistics of a group?",
        f"{STATS}?since={SINCE}&until={UNTIL}",
    ),
    _get("group-stats-always", "What answers statistics without a first day?", STATS),
    _post(
        "update-in-part",
        "May an update leave fields out?",
        f"campaigns/update/{CAMPAIGN}",
        {"name": NAME, "live": False},
    ),
    _post("update", "Is a full update accepted?", f"campaigns/update/{CAMPAIGN}", DRAFT),
    _post(
        "update-unknown",
        "What answers an update of an unknown campaign?",
        f"campaigns/update/{UNKNOWN_TOKEN}",
        DRAFT,
    ),
    _post(
        "delete-unknown",
        "What answers a deletion of an unknown campaign?",
        f"campaigns/delete/{UNKNOWN_TOKEN}",
    ),
    _get("view-unknown", "What answers an unknown campaign?", f"campaigns/{UNKNOWN_TOKEN}"),
    _post("delete", "Is a draft deleted?", f"campaigns/delete/{CAMPAIGN}"),
    _post("delete-again", "What answers a second deletion?", f"campaigns/delete/{CAMPAIGN}"),
    _post(
        "update-deleted",
        "What answers an update of a deleted campaign?",
        f"campaigns/update/{CAMPAIGN}",
        DRAFT,
    ),
    *SENDS,
)

FIRST_QUERY = next(question.offers for question in QUESTIONS if question.offers)
