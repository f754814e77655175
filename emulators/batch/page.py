"""The page at `/`: the newest calls, for a person who watches what an app would get."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from itertools import islice
from typing import Any

from emulators.batch.campaigns import Campaign
from emulators.batch.journal import Call, as_rfc3339

ROWS = 200
COLUMNS = ("Time", "App", "Title", "Body", "Deep link", "Recipients", "Reply")

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="2">
<link rel="icon" href="data:,">
<title>Batch emulator</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 2em }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .4em .8em; border-bottom: 1px solid #ddd }}
.refused {{ color: #b00 }}
</style>
<h1>Batch emulator</h1>
<p>{count} calls, newest first</p>
<table>
<tr>{heads}</tr>
{rows}
</table>
</html>
"""


def page(calls: Sequence[Call], campaigns: Iterable[Campaign]) -> str:
    rows = [(call.received_at, _row(call)) for call in calls[-ROWS:]]
    rows += [(each.sent_at, _campaign_row(each)) for each in campaigns if each.sent_at]
    rows.sort(key=lambda row: row[0])
    return PAGE.format(
        count=len(calls),
        heads="".join(f"<th>{name}</th>" for name in COLUMNS),
        rows="\n".join(row for _, row in islice(reversed(rows), ROWS)),
    )


def _campaign_row(campaign: Campaign) -> str:
    targeting = campaign.body.get("targeting")
    first = campaign.body["messages"][0]
    cells = (
        campaign.sent_at and as_rfc3339(campaign.sent_at),
        campaign.app_key,
        first.get("title"),
        first["body"],
        campaign.body.get("deeplink"),
        json.dumps(targeting) if targeting else "everybody",
        f"campaign {campaign.body['name']}",
    )
    return '<tr class="accepted">' + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"


def _row(call: Call) -> str:
    message = _child(call.body, "message")
    cells = (
        as_rfc3339(call.received_at),
        call.app or call.address.app_key or call.path,
        _child(message, "title"),
        _child(message, "body"),
        _child(call.body, "deeplink"),
        _recipients(call.body),
        _reply(call),
    )
    kind = "accepted" if call.accepted else "refused"
    return f'<tr class="{kind}">' + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"


def _text(value: Any) -> str:
    return "" if value is None else escape(str(value))


def _child(value: Any, key: str) -> Any:
    # The journal also holds what was refused, which may have any shape.
    return value.get(key) if isinstance(value, dict) else None


def _recipients(body: Any) -> int | None:
    lists = _child(body, "recipients")
    if not isinstance(lists, dict):
        return None
    return sum(len(ids) for ids in lists.values() if isinstance(ids, list))


def _reply(call: Call) -> str:
    if call.reply is None:
        return "none"
    message = _child(call.reply.body, "message")
    return f"{call.reply.status} {message}" if message else str(call.reply.status)
